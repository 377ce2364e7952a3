"""Arguments of the verbs, checked where a wrong type would otherwise fail somewhere inside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from approx import Assignment
from multipliers import Multiplier
from picojoule.libraries import generated_library, open_library

Circuits = Mapping[str, Multiplier] | str | Path | None
"""Circuits by name, the name or path of a library (`picojoule.libraries.open_library`), None for the generated ones."""


def circuits_of(library: Circuits, assignment: Assignment | None = None) -> Mapping[str, Multiplier]:
    """The circuits.

    Args:
        library: see `Circuits`.
        assignment: generated circuits it names are there too.

    Raises:
        UserError: there is no such library, or no such generated circuit.
        TypeError: it is none.
    """
    if library is None:
        return generated_library(assignment)
    if isinstance(library, str | Path):
        return open_library(str(library), assignment=assignment)
    require(library, Mapping, "circuits by name or a library's name", 'multipliers.default_library() or "evoapprox"')
    return library


def require(value: Any, kind: type, expected: str, example: str) -> None:
    """Raises TypeError where a value is not of a kind."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {expected}, such as {example}, got {type(value).__name__} {str(value)[:60]!r}")
