"""One flow from a netlist to a costed ``Multiplier``, the same for generated and imported circuits."""

from __future__ import annotations

import functools
import math

import numpy.typing as npt

from multipliers.cell_libraries import DEFAULT_CELLS
from multipliers.cells import CellLibrary
from multipliers.characterisation.flow import GLITCH_WEIGHT, characterise
from multipliers.families.registry import exact_families
from multipliers.multiplier import Multiplier
from multipliers.netlist import Netlist
from multipliers.provenance import Provenance, PublishedFigures

_UNCERTAINTY = 0.5
"""Relative 1-sigma of absolute energies: how many glitches survive is not known, and all of them may double the
switching of an exact 8x8 multiplier; wires and leakage are left out."""


def costed(
    netlist: Netlist,
    *,
    name: str | None = None,
    source: str,
    cells: CellLibrary = DEFAULT_CELLS,
    published: PublishedFigures | None = None,
) -> Multiplier:
    """A circuit with the area, delay and energy of our own flow.

    Args:
        netlist: the gates.
        name: name of the circuit; the netlist's own when None.
        source: who published or generated it.
        cells: technology.
        published: figures its authors print, kept beside.

    Returns:
        the circuit; its energy is relative to the cheapest of our exact multipliers of the same widths and signedness
        in the same flow, so that a saving is one over the best exact circuit, not over a poor one.
    """
    cost = characterise(netlist, cells)
    reference = exact_energy_pj(netlist.width_a, netlist.width_b, netlist.signed, cells)
    return Multiplier(
        name=name or netlist.name,
        function=netlist,
        signed=netlist.signed,
        width_a=netlist.width_a,
        width_b=netlist.width_b,
        energy_pj=cost.energy_pj,
        energy_relative=cost.energy_pj / reference,
        area_um2=cost.area_um2,
        delay_ns=cost.delay_ns,
        provenance=Provenance(
            source=source,
            node=cells.node,
            method=(
                "switching energy of the netlist after optimisation, independent uniform operands: zero-delay toggles "
                f"plus {GLITCH_WEIGHT:g} of the glitches of a unit-delay simulation, without wires or leakage; "
                "relative to the cheapest exact multiplier of our own in the same flow; cell figures: "
                f"{cells.attribution}"
            ),
            uncertainty=_UNCERTAINTY,
        ),
        published=published,
    )


def relative_energy(
    netlist: Netlist, cells: CellLibrary, p: npt.ArrayLike | None = None, q: npt.ArrayLike | None = None
) -> float:
    """Energy of a circuit over that of the cheapest exact multiplier, under the same operand histograms.

    Args:
        netlist: the gates.
        cells: technology.
        p: histogram of operand a by bit pattern, [2**width_a]; uniform when None.
        q: histogram of operand b, [2**width_b]; uniform when None.

    Returns:
        the ratio; 1 where neither switches, as with operands that never change.
    """
    exact_pj = min(
        characterise(family.netlist(netlist.width_a, netlist.width_b), cells, p, q).energy_pj
        for family in exact_families(netlist.width_a, netlist.width_b, netlist.signed)
    )
    own_pj = characterise(netlist, cells, p, q).energy_pj
    if exact_pj == 0:  # operands that never change
        return 1.0 if own_pj == 0 else math.inf
    return own_pj / exact_pj


@functools.cache
def exact_energy_pj(width_a: int, width_b: int, signed: bool, cells: CellLibrary) -> float:
    """Energy per operation, pJ, of the cheapest exact multiplier we generate, uniform operands."""
    return min(
        characterise(family.netlist(width_a, width_b), cells).energy_pj
        for family in exact_families(width_a, width_b, signed)
    )
