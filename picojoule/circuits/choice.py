"""Which circuits a command works on: a filtered library, one circuit by name or file, or freshly generated ones."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import multipliers
from multipliers import CELL_LIBRARIES, Library, Multiplier
from multipliers.families.registry import members
from picojoule.errors import UserError, did_you_mean
from picojoule.libraries import open_library
from picojoule.progress import track

_WIDTHS = re.compile(r"(\d+)(?:x(\d+))?")
_SWEEP = re.compile(r"(\d+)(?:x(\d+))?([us])")
_NETLISTS = (".v", ".json")


def chosen(
    library: str,
    *,
    signed: bool | None = None,
    width: str | None = None,
    max_mae: float | None = None,
    max_energy: float | None = None,
) -> Library:
    """The circuits of a library that pass every filter given."""
    criteria: dict[str, Any] = {"signed": signed, "max_mae": max_mae, "max_energy_relative": max_energy}
    if width is not None:
        criteria["width_a"], criteria["width_b"] = _widths(width)
    return open_library(library).filter(**{key: value for key, value in criteria.items() if value is not None})


def one_circuit(name: str, library: str) -> Multiplier:
    """A circuit by its name in the library, else by its generated name (any width), else from a netlist file.

    Raises:
        UserError: none of these.
    """
    circuits = open_library(library)
    if name in circuits:
        return circuits[name]
    path = Path(name)
    if path.suffix in _NETLISTS:
        from multipliers.importers import import_circuits

        (circuit,) = import_circuits(path).library.values()
        return circuit
    try:
        return multipliers.generate(name)
    except ValueError as error:
        hint = did_you_mean(name, circuits).partition("; known")[0]
        message = f"no circuit {name!r} in library {library!r}{hint}; nor can it be generated: {error}"
        raise UserError(message) from error


def generated(names: Sequence[str], sweeps: Sequence[str], cells: str) -> Library:
    """Circuits by name, and all members of all families at the widths of the sweeps.

    Raises:
        UserError: nothing is asked for, or the technology is unknown.
    """
    if cells not in CELL_LIBRARIES:
        raise UserError(f"unknown technology {cells!r}; known: {', '.join(CELL_LIBRARIES)}")
    wanted: dict[str, None] = dict.fromkeys(names)
    for sweep in sweeps:
        match = _SWEEP.fullmatch(sweep)
        if match is None:
            raise UserError(f'sweep {sweep!r}: expected widths and sign such as "8x8u" or "8x4s"')
        width_a, width_b = int(match[1]), int(match[2] or match[1])
        families = members(width_a, width_b, signed=match[3] == "s")
        wanted |= dict.fromkeys(family.name(width_a, width_b) for family in families)
    if not wanted:
        raise UserError("nothing to generate: name circuits (mul8u_drum4), or --sweep 8x8u, or see --families")
    technology = CELL_LIBRARIES[cells]
    return Library(multipliers.generate(name, cells=technology) for name in track(list(wanted), "generate"))


def operand_ports(text: str | None) -> tuple[str, str] | None:
    """Two port names from "X,Y".

    Raises:
        UserError: not two.
    """
    if text is None:
        return None
    ports = [port.strip() for port in text.split(",")]
    if len(ports) != 2 or not all(ports):
        raise UserError(f"operands {text!r}: expected the two ports of operand a and b, such as X,Y")
    return ports[0], ports[1]


def _widths(text: str) -> tuple[int, int]:
    match = _WIDTHS.fullmatch(text)
    if match is None:
        raise UserError(f'width {text!r}: expected "8x8", "8x4" or "8"')
    return int(match[1]), int(match[2] or match[1])
