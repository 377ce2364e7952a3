"""Area and switching energy of a netlist.

Energy per operation: E = sum over nets of toggles x (internal energy of the driving
cell + 0.5 C V^2), C = pin loads of the fan-out. Toggles are zero-delay: 2 p (1 - p) for independent
successive operands, p = probability that the net is 1. Glitches, wires and leakage are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multipliers.cells import CellLibrary
from multipliers.netlist import ONE, ZERO, Netlist, unpack
from multipliers.statistics import distribution


@dataclass(frozen=True)
class Characterisation:
    """Cost of a netlist in one cell library.

    Attributes:
        energy_pj: switching energy per operation, pJ (zero-delay toggles).
        area_um2: total cell area.
    """

    energy_pj: float
    area_um2: float


def characterise(
    netlist: Netlist,
    cells: CellLibrary,
    p: npt.ArrayLike | None = None,
    q: npt.ArrayLike | None = None,
) -> Characterisation:
    """Area and energy per operation of a netlist of at most 20 operand bits.

    Args:
        netlist: the circuit.
        cells: figures of its cells.
        p: histogram of operand a by bit pattern, [2**width_a]; uniform when None.
        q: histogram of operand b, [2**width_b]; uniform when None.

    Raises:
        ValueError: if a gate kind has no figures, the circuit is too wide, or a histogram is malformed.
    """
    energy_fj = switching_energy_fj(netlist, cells, toggle_rates(netlist, p, q))
    return Characterisation(
        energy_pj=energy_fj * 1e-3,
        area_um2=sum(cells.cell(gate.kind).area_um2 for gate in netlist.gates),
    )


def toggle_rates(netlist: Netlist, p: npt.ArrayLike | None = None, q: npt.ArrayLike | None = None) -> dict[int, float]:
    """Expected toggles of every net per operation, 2 p (1 - p), for independent successive operand pairs."""
    words = netlist.exhaustive_words()
    shape = (1 << netlist.width_a, 1 << netlist.width_b)
    weight_a = distribution("p (operand a)", p, shape[0])
    weight_b = distribution("q (operand b)", q, shape[1])
    uniform = p is None and q is None
    rates = {}
    for net, value in words.items():
        bits = unpack(value, shape[0] * shape[1])
        if uniform:
            one = float(np.count_nonzero(bits)) / bits.size
        else:
            one = float(weight_a @ (bits.reshape(shape) @ weight_b))
        rates[net] = 2.0 * one * (1.0 - one)
    return rates


def switching_energy_fj(netlist: Netlist, cells: CellLibrary, toggles: Mapping[int, float]) -> float:
    """Energy per operation, fJ, of given toggles per net (inputs pay for the load they drive)."""
    load_ff: dict[int, float] = {}
    for gate in netlist.gates:
        for net in gate.inputs:
            load_ff[net] = load_ff.get(net, 0.0) + cells.cell(gate.kind).pin_ff
    for net in netlist.outputs:
        load_ff[net] = load_ff.get(net, 0.0) + cells.output_load_ff
    half_square_v = 0.5 * cells.supply_v**2
    energy = sum(toggles[net] * load * half_square_v for net, load in load_ff.items() if net not in (ZERO, ONE))
    for gate in netlist.gates:
        internal = cells.cell(gate.kind).energy_fj
        energy += sum(toggles[net] * internal for net in gate.outputs)
    return energy
