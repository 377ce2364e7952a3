"""The JSON of Yosys ``write_json``, checked: modules, ports and cells with integers for nets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multipliers.readers.errors import NetlistError
from multipliers.readers.limits import MAX_BYTES, MAX_WIDTH
from multipliers.readers.syntax import Signal

Bit = int | str


@dataclass(frozen=True)
class YosysCell:
    """A cell in use: connections by pin, least significant bit first; parameters as Yosys wrote them."""

    name: str
    kind: str
    connections: Mapping[str, list[Bit]]
    parameters: Mapping[str, Any]

    @property
    def title(self) -> str:
        """For messages."""
        return f"cell '{self.name}' of type '{self.kind}'"

    def is_signed(self) -> bool:
        """Whether all operands are signed."""
        flags = [value for pin, value in self.parameters.items() if pin in ("A_SIGNED", "B_SIGNED")]
        return bool(flags) and all(_is_set(flag) for flag in flags)

    def table(self) -> tuple[int, ...]:
        """The ``LUT`` parameter, entry 0 first; empty without one."""
        text = self.parameters.get("LUT", "")
        if isinstance(text, int):
            text = f"{text:b}".zfill(1 << min(16, len(self.connections.get("A", []))))
        if not isinstance(text, str) or set(text) - {"0", "1"}:
            raise NetlistError(f"{self.title}: expected a LUT of zeros and ones, got {str(text)[:40]!r}")
        return tuple(int(digit) for digit in reversed(text))


@dataclass(frozen=True)
class YosysModule:
    """One module: ports with their bits, cells, names of nets, and whether it is the top or only a black box."""

    name: str
    ports: Mapping[str, tuple[Signal, list[Bit]]]
    cells: tuple[YosysCell, ...]
    names: Mapping[int, str]
    is_top: bool
    is_box: bool


def load_design(text: str) -> dict[str, YosysModule]:
    """All modules by name.

    Raises:
        NetlistError: if it is not JSON or not of the form Yosys writes.
    """
    if len(text) > MAX_BYTES:
        raise NetlistError(f"expected at most {MAX_BYTES} characters, got {len(text)}")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise NetlistError(f"not JSON: {error.msg}", error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise NetlistError(f"not JSON that Yosys writes: {error}") from error
    modules = _object(_object(data, "the file").get("modules"), "'modules'")
    return {name: _module(name, _object(body, f"module '{name}'")) for name, body in modules.items()}


def _module(name: str, body: dict[str, Any]) -> YosysModule:
    attributes = _object(body.get("attributes", {}), f"attributes of '{name}'")
    ports = {key: _port(key, value) for key, value in _object(body.get("ports", {}), f"ports of '{name}'").items()}
    cells = _object(body.get("cells", {}), f"cells of '{name}'")
    names: dict[int, str] = {}
    for label, entry in _object(body.get("netnames", {}), f"netnames of '{name}'").items():
        bits = _bits(_object(entry, f"net '{label}'").get("bits"), f"net '{label}'")
        for position, bit in enumerate(bits):
            if isinstance(bit, int):
                names.setdefault(bit, label if len(bits) == 1 else f"{label}[{position}]")
    is_box = _is_set(attributes.get("blackbox", 0)) or _is_set(attributes.get("whitebox", 0))
    parsed = tuple(_cell(key, value) for key, value in cells.items())
    return YosysModule(name, ports, parsed, names, _is_set(attributes.get("top", 0)), is_box)


def _port(name: str, value: object) -> tuple[Signal, list[Bit]]:
    entry = _object(value, f"port '{name}'")
    direction = entry.get("direction")
    if direction not in ("input", "output"):
        raise NetlistError(f"port '{name}': expected direction input or output, got {str(direction)[:40]!r}")
    bits = _bits(entry.get("bits"), f"port '{name}'")
    if not bits:
        raise NetlistError(f"port '{name}' has no bits")
    return Signal(name, direction, len(bits) - 1, 0, _is_set(entry.get("signed", 0)), None), bits


def _cell(name: str, value: object) -> YosysCell:
    entry = _object(value, f"cell '{name}'")
    kind = entry.get("type")
    if not isinstance(kind, str):
        raise NetlistError(f"cell '{name}': expected a type, got {str(kind)[:40]!r}")
    connections = _object(entry.get("connections", {}), f"connections of cell '{name}'")
    return YosysCell(
        name,
        kind,
        {pin: _bits(bits, f"pin '{pin}' of cell '{name}'") for pin, bits in connections.items()},
        _object(entry.get("parameters", {}), f"parameters of cell '{name}'"),
    )


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NetlistError(f"expected a JSON object for {what}, got {str(value)[:40]!r}; is it from write_json?")
    return value


def _bits(value: object, what: str) -> list[Bit]:
    if not isinstance(value, list) or len(value) > MAX_WIDTH:
        raise NetlistError(f"expected a list of at most {MAX_WIDTH} bits for {what}, got {str(value)[:40]!r}")
    for bit in value:
        if not (isinstance(bit, int) and not isinstance(bit, bool)) and bit not in ("0", "1", "x", "z"):
            raise NetlistError(f"expected net numbers, '0', '1', 'x' or 'z' for {what}, got {str(bit)[:40]!r}")
    return value


def _is_set(value: object) -> bool:
    """Whether an attribute or flag is on: Yosys writes integers as such or as text of binary digits."""
    return "1" in value if isinstance(value, str) else bool(value)
