"""Area, delay and energy per operation of a circuit: one flow for circuits of any origin.

The netlist is optimised, lowered to the cells of the library and simulated. Energy per operation: E = sum over
nets of toggles x (internal energy of the driving cell + 0.5 C V^2), C = pin loads of the fan-out. Wires and leakage
are not in it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import numpy.typing as npt

from multipliers.arrays import FloatArray
from multipliers.cells import CellLibrary
from multipliers.characterisation.stimulus import Stimulus
from multipliers.characterisation.switching import glitch_toggles, zero_delay_toggles
from multipliers.characterisation.timing import critical_path_ns
from multipliers.netlist import Netlist
from multipliers.synthesis.lowering import lower, made_of
from multipliers.synthesis.optimise import optimise

GLITCH_WEIGHT = 0.5
"""Share of the glitches of a unit-delay simulation that is counted.

Real gates filter part of them. Published power P of EvoApproxLib lite circuits lies between the zero-delay energy
E0 and the unit-delay energy E0 + Eg (computed in gscl45nm, fJ per mW): E0 / P is 2,900 for deep and 5,900 for shallow
circuits, (E0 + Eg) / P is 8,700 and 6,200. The weight w that makes (E0 + w Eg) / P the same for both solves
2,900 + 5,800 w = 5,900 + 300 w: w = 0.55, rounded to one half.
"""


@dataclass(frozen=True)
class Characterisation:
    """Cost of a circuit in one cell library.

    Attributes:
        energy_pj: energy per operation, pJ: ``switching_pj + GLITCH_WEIGHT * glitch_pj``.
        switching_pj: energy of the zero-delay toggles.
        glitch_pj: energy of the toggles of a unit-delay simulation beyond those.
        area_um2: total cell area.
        delay_ns: critical path.
    """

    energy_pj: float
    switching_pj: float
    glitch_pj: float
    area_um2: float
    delay_ns: float


def characterise(
    netlist: Netlist,
    cells: CellLibrary,
    p: npt.ArrayLike | None = None,
    q: npt.ArrayLike | None = None,
) -> Characterisation:
    """Area, delay and energy per operation of a circuit of any width, after ``optimise`` and ``lower``.

    Successive operand pairs are independent. Zero-delay toggles are exact up to 20 operand bits and sampled beyond
    (131,072 pairs); glitches are counted on 65,536 random transitions. Samples are always the same ones, so that
    under uniform operands the result is the same on every machine.

    Args:
        netlist: the circuit, however it was made.
        cells: figures of cells.
        p: histogram of operand a by bit pattern, [2**width_a], any scale; uniform when None.
        q: histogram of operand b, [2**width_b]; uniform when None.

    Raises:
        ValueError: if a gate can not be made of the library's cells, or a histogram is malformed.
    """
    stimulus = Stimulus.of(netlist.width_a, netlist.width_b, p, q)
    optimised = optimise(netlist)
    mapped, units = lower(optimised, cells), made_of(optimised, cells)
    load_ff = net_loads_ff(mapped, cells)
    toggle_fj = toggle_energies_fj(mapped, cells, load_ff)
    switching_pj = 1e-3 * _energy_fj(toggle_fj, zero_delay_toggles(mapped, stimulus))
    glitch_pj = 1e-3 * _energy_fj(toggle_fj, glitch_toggles(mapped, stimulus, units))
    return Characterisation(
        energy_pj=switching_pj + GLITCH_WEIGHT * glitch_pj,
        switching_pj=switching_pj,
        glitch_pj=glitch_pj,
        area_um2=math.fsum(cells.cell(gate.kind).area_um2 for gate in mapped.gates),
        delay_ns=critical_path_ns(mapped, cells, load_ff),
    )


def net_loads_ff(netlist: Netlist, cells: CellLibrary) -> dict[int, float]:
    """Load of every net, fF: the pins it feeds, and the output load on product bits."""
    loads = dict.fromkeys(netlist.nets, 0.0)
    for gate in netlist.gates:
        for net in gate.inputs:
            loads[net] += cells.cell(gate.kind).pin_ff
    for net in netlist.outputs:
        loads[net] += cells.output_load_ff
    return loads


def toggle_energies_fj(netlist: Netlist, cells: CellLibrary, load_ff: Mapping[int, float]) -> list[float]:
    """Energy of one toggle of every net, fJ, in the order of ``netlist.nets``: its load, and its driving cell.

    Operands pay for the load they drive only.
    """
    half_square_v = 0.5 * cells.supply_v**2
    energies = {net: load * half_square_v for net, load in load_ff.items()}
    for gate in netlist.gates:
        for net in gate.outputs:
            energies[net] += cells.cell(gate.kind).energy_fj
    return [energies[net] for net in netlist.nets]


def _energy_fj(toggle_fj: list[float], toggles: FloatArray) -> float:
    """Correctly rounded, so the same on every machine."""
    return math.fsum(map(operator.mul, toggle_fj, toggles.tolist()))
