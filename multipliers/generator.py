"""Turns a family into a ``Multiplier``: netlist, function and cost, all from one flow."""

from __future__ import annotations

from multipliers.cell_libraries import DEFAULT_CELLS
from multipliers.cells import CellLibrary
from multipliers.characterisation import costed
from multipliers.families import Family
from multipliers.families.registry import parse_circuit
from multipliers.multiplier import Multiplier


def generate(
    circuit: str | Family, width_a: int = 8, width_b: int | None = None, *, cells: CellLibrary = DEFAULT_CELLS
) -> Multiplier:
    """Generate one circuit with its cost.

    Args:
        circuit: a family with its parameters, or a full circuit name such as ``"mul8u_drum4"`` (whose
            widths count).
        width_a: bits of operand a, for a family.
        width_b: bits of operand b, for a family; as ``width_a`` when None.
        cells: cell library to cost it with.

    Returns:
        the circuit; its energy is relative to the cheapest exact multiplier of the same widths and signedness,
        generated and costed by the same flow.

    Raises:
        ValueError: on an unknown name or widths the family does not allow.
    """
    if isinstance(circuit, str):
        family, width_a, width_b = parse_circuit(circuit)
    else:
        family = circuit
    width_b = width_a if width_b is None else width_b
    return costed(family.netlist(width_a, width_b), source=f"generated from its definition: {family!r}", cells=cells)
