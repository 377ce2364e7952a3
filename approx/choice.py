"""`Choice` and `ChannelChoice`: the circuit of a layer, or one for each of its output channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from approx.channel_ranges import from_ranges, to_ranges
from approx.operands import Operands


@dataclass(frozen=True)
class Choice:
    """A circuit and how operands reach it.

    Attributes:
        multiplier: name in a `multipliers.Library`.
        operands: weight coding.
        swap: exchange the circuit's operands.
    """

    multiplier: str
    operands: Operands = Operands.SIGN_MAGNITUDE
    swap: bool = False

    def __post_init__(self) -> None:
        """Takes the name of a coding for the coding.

        Raises:
            ValueError: there is no such coding.
        """
        object.__setattr__(self, "operands", Operands(self.operands))

    @property
    def multipliers(self) -> tuple[str, ...]:
        """The one name, for all output channels."""
        return (self.multiplier,)

    @property
    def circuits(self) -> tuple[str, ...]:
        """Names of the circuits in use, each once."""
        return self.multipliers

    def to_json(self) -> dict[str, Any]:
        """The JSON form of the value of one key."""
        return {"multiplier": self.multiplier, "operands": self.operands.value, "swap": self.swap}


@dataclass(frozen=True)
class ChannelChoice:
    """A circuit for each output channel; operands reach all of them in the same way.

    Attributes:
        multipliers: names in a `multipliers.Library`, one for each of O output channels.
        operands: weight coding.
        swap: exchange the operands of every circuit.
    """

    multipliers: tuple[str, ...]
    operands: Operands = Operands.SIGN_MAGNITUDE
    swap: bool = False

    def __post_init__(self) -> None:
        """Takes the name of a coding for the coding.

        Raises:
            ValueError: there is no such coding, or no channel.
        """
        if not self.multipliers:
            raise ValueError("expected the name of a circuit for each output channel, got none")
        object.__setattr__(self, "operands", Operands(self.operands))

    @property
    def circuits(self) -> tuple[str, ...]:
        """Names of the circuits in use, each once."""
        return tuple(dict.fromkeys(self.multipliers))

    @property
    def multiplier(self) -> str:
        """What the layer's circuit is called, as in `approx.layer_circuit`: names joined by "+"."""
        return "+".join(self.circuits)

    def to_json(self) -> dict[str, Any]:
        """The JSON form of the value of one key."""
        numbered = list(enumerate(self.multipliers))
        channels = {name: to_ranges(c for c, used in numbered if used == name) for name in self.circuits}
        return {"multipliers": channels, "operands": self.operands.value, "swap": self.swap}


LayerChoice = Choice | ChannelChoice


def choice_from_json(value: Any, where: str) -> LayerChoice:
    """The choice that the value of one key stands for.

    Raises:
        ValueError: unknown key, impossible value, or channels left out or named twice; begins with `where`.
    """
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, dict) or ("multiplier" in value) == ("multipliers" in value):
        raise ValueError(
            f'{where}: expected a multiplier name, {{"multiplier": name, ...}} or {{"multipliers": {{name: "0-3,7"}}, '
            f"...}}, got {value!r}"
        )
    unknown = set(value) - {"multiplier", "multipliers", "operands", "swap"}
    if unknown:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}; known are multiplier, multipliers, operands, swap")
    operands, swap = value.get("operands", Operands.SIGN_MAGNITUDE.value), value.get("swap", False)
    if operands not in list(Operands):
        raise ValueError(f"{where}: operands {operands!r} is none of {[o.value for o in Operands]}")
    if not isinstance(swap, bool):
        raise ValueError(f"{where}: 'swap' must be true or false, got {swap!r}")
    if "multipliers" in value:
        return ChannelChoice(_by_channel(value["multipliers"], where), Operands(operands), swap)
    if not isinstance(value["multiplier"], str):
        raise ValueError(f"{where}: 'multiplier' must be a string, got {value['multiplier']!r}")
    return Choice(value["multiplier"], Operands(operands), swap)


def _by_channel(ranges: Any, where: str) -> tuple[str, ...]:
    if not isinstance(ranges, Mapping) or not ranges or not all(isinstance(text, str) for text in ranges.values()):
        raise ValueError(f"{where}: 'multipliers' must be an object such as {{name: \"0-3,7\"}}, got {ranges!r}")
    try:
        pairs = sorted((channel, name) for name, text in ranges.items() for channel in from_ranges(text))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    for expected, (channel, name) in enumerate(pairs):
        if channel != expected:
            what = f"{channel} has a second one, {name!r}" if channel < expected else f"{expected} has none"
            raise ValueError(f"{where}: expected one circuit for each channel from 0 on, channel {what}")
    return tuple(name for _, name in pairs)
