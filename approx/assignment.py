"""`Assignment`: which multiplier each layer uses. The JSON file users edit.

    {"version": 1,
     "layers": {"conv1": "mul8u_exact",
                "layer3.*": {"multiplier": "mul8u_drum4", "operands": "sign-magnitude-9", "swap": false}}}

Keys are layer names or shell patterns; an exact name wins over a pattern, a longer pattern over a shorter one.
A layer that nothing names multiplies exactly.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from approx.documents import read_document
from approx.operands import Operands
from multipliers import Multiplier

VERSION = 1


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

    def to_json(self) -> dict[str, Any]:
        """The JSON form of the value of one key."""
        return {"multiplier": self.multiplier, "operands": self.operands.value, "swap": self.swap}


@dataclass(frozen=True)
class Assignment:
    """Immutable mapping from layer-name pattern to `Choice`."""

    layers: Mapping[str, Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Takes the name of a multiplier for the choice of it, as the file does."""
        chosen = {k: Choice(v) if isinstance(v, str) else v for k, v in self.layers.items()}
        object.__setattr__(self, "layers", chosen)

    def resolve(self, names: Iterable[str]) -> dict[str, Choice]:
        """Layer name -> choice for the layers that have one.

        Raises:
            ValueError: a pattern matches no layer; the closest names are listed.
        """
        names = list(names)
        chosen: dict[str, Choice] = {}
        for pattern in sorted(self.layers, key=lambda p: (p in names, len(p))):
            hits = [n for n in names if n == pattern] or [n for n in names if fnmatchcase(n, pattern)]
            if not hits:
                close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
                raise ValueError(f"the assignment names layer {pattern!r}, which does not exist; did you mean {close}?")
            chosen.update(dict.fromkeys(hits, self.layers[pattern]))
        return {name: chosen[name] for name in names if name in chosen}

    def circuits(self, names: Iterable[str], library: Mapping[str, Multiplier]) -> dict[str, tuple[Multiplier, Choice]]:
        """Layer name -> (multiplier, choice) for the layers that have one.

        Raises:
            ValueError: a layer or a multiplier does not exist; the closest names are listed.
        """
        chosen = self.resolve(names)
        for name, choice in chosen.items():
            if choice.multiplier not in library:
                close = difflib.get_close_matches(choice.multiplier, library, n=3) or list(library)[:3]
                raise ValueError(
                    f"layer {name!r} is assigned multiplier {choice.multiplier!r}, which the library does not have; "
                    f"did you mean {close}? `picojoule multipliers ls` lists them, multipliers.generate(name) makes one"
                )
        return {name: (library[choice.multiplier], choice) for name, choice in chosen.items()}

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the file."""
        return {
            "version": VERSION,
            "layers": {name: choice.to_json() for name, choice in self.layers.items()},
        }

    def save(self, path: Path | str) -> None:
        """Write the JSON file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def from_json(cls, document: Any, source: str = "assignment") -> "Assignment":
        """Build from the JSON object.

        Raises:
            ValueError: wrong version, unknown key or value; says where.
        """
        if not isinstance(document, dict) or set(document) != {"version", "layers"}:
            raise ValueError(f'{source}: expected {{"version": {VERSION}, "layers": {{...}}}}')
        if document["version"] != VERSION:
            raise ValueError(f"{source}: version {document['version']!r} is not supported, expected {VERSION}")
        if not isinstance(document["layers"], dict):
            raise ValueError(f"{source}: 'layers' must be an object of layer name -> multiplier")
        return cls({name: _choice(value, f"{source}, layer {name!r}") for name, value in document["layers"].items()})

    @classmethod
    def load(cls, path: Path | str) -> "Assignment":
        """Read the JSON file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not JSON, or not an assignment; says where.
        """
        return cls.from_json(read_document(path), str(path))


def _choice(value: Any, where: str) -> Choice:
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, dict) or "multiplier" not in value:
        raise ValueError(f'{where}: expected a multiplier name or {{"multiplier": name, ...}}, got {value!r}')
    unknown = set(value) - {"multiplier", "operands", "swap"}
    if unknown:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}; known are multiplier, operands, swap")
    operands, swap = value.get("operands", Operands.SIGN_MAGNITUDE.value), value.get("swap", False)
    if operands not in list(Operands):
        raise ValueError(f"{where}: operands {operands!r} is none of {[o.value for o in Operands]}")
    if not isinstance(swap, bool) or not isinstance(value["multiplier"], str):
        raise ValueError(f"{where}: 'multiplier' must be a string and 'swap' true or false, got {value!r}")
    return Choice(value["multiplier"], Operands(operands), swap)
