"""`Assignment`: which multiplier each layer uses. The JSON file users edit.

    {"version": 1,
     "layers": {"conv1": "mul8u_exact",
                "layer3.*": {"multiplier": "mul8u_drum4", "operands": "sign-magnitude-9", "swap": false},
                "linear": {"multipliers": {"mul8u_drum4": "0-5,9", "mul8u_trunc4": "6-8"}}}}

Keys are layer names or shell patterns; an exact name wins over a pattern, a longer pattern over a shorter one.
"multipliers" says which output channels each circuit serves. A layer that nothing names multiplies exactly.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from approx.choice import Choice, LayerChoice, choice_from_json
from approx.documents import read_document
from multipliers import Multiplier

VERSION = 1


@dataclass(frozen=True)
class Assignment:
    """Immutable mapping from layer-name pattern to `Choice` or `ChannelChoice`."""

    layers: Mapping[str, LayerChoice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Takes the name of a multiplier for the choice of it, as the file does."""
        chosen = {k: Choice(v) if isinstance(v, str) else v for k, v in self.layers.items()}
        object.__setattr__(self, "layers", chosen)

    def resolve(self, names: Iterable[str]) -> dict[str, LayerChoice]:
        """Layer name -> choice for the layers that have one.

        Raises:
            ValueError: a pattern matches no layer; the closest names are listed.
        """
        names = list(names)
        chosen: dict[str, LayerChoice] = {}
        for pattern in sorted(self.layers, key=lambda p: (p in names, len(p))):
            hits = [n for n in names if n == pattern] or [n for n in names if fnmatchcase(n, pattern)]
            if not hits:
                close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
                raise ValueError(f"the assignment names layer {pattern!r}, which does not exist; did you mean {close}?")
            chosen.update(dict.fromkeys(hits, self.layers[pattern]))
        return {name: chosen[name] for name in names if name in chosen}

    def circuits(
        self, names: Iterable[str], library: Mapping[str, Multiplier]
    ) -> dict[str, tuple[tuple[Multiplier, ...], LayerChoice]]:
        """Layer name -> (circuits, choice) for the layers that have one.

        The circuits are one for the whole layer, or one for each output channel.

        Raises:
            ValueError: a layer or a multiplier does not exist; the closest names are listed.
        """
        chosen = self.resolve(names)
        for name, choice in chosen.items():
            for circuit in choice.circuits:
                if circuit not in library:
                    close = difflib.get_close_matches(circuit, library, n=3) or list(library)[:3]
                    raise ValueError(
                        f"layer {name!r} is assigned multiplier {circuit!r}, which the library does not have; did you "
                        f"mean {close}? `picojoule multipliers ls` lists them, multipliers.generate(name) makes one"
                    )
        return {name: (tuple(library[c] for c in choice.multipliers), choice) for name, choice in chosen.items()}

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
        chosen = document["layers"].items()
        return cls({name: choice_from_json(value, f"{source}, layer {name!r}") for name, value in chosen})

    @classmethod
    def load(cls, path: Path | str) -> "Assignment":
        """Read the JSON file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not JSON, or not an assignment; says where.
        """
        return cls.from_json(read_document(path), str(path))
