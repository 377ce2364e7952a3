"""Static timing: the longest path through a netlist."""

from __future__ import annotations

from collections.abc import Mapping

from multipliers.cells import CellLibrary
from multipliers.netlist import Netlist


def critical_path_ns(netlist: Netlist, cells: CellLibrary, load_ff: Mapping[int, float]) -> float:
    """Latest arrival time of a product bit after the operands, ns.

    Every cell takes ``delay_ps + slope_ps_per_ff * load``, the same from any input to any output and for rising and
    falling edges; whether a path can be sensitised is not asked.

    Args:
        netlist: the circuit.
        cells: figures of its cells.
        load_ff: load of every net, fF.
    """
    arrival_ps = dict.fromkeys(netlist.nets, 0.0)
    for gate in netlist.gates:
        cell = cells.cell(gate.kind)
        latest = max(arrival_ps[net] for net in gate.inputs)
        for net in gate.outputs:
            arrival_ps[net] = latest + cell.delay_ps + cell.slope_ps_per_ff * load_ff[net]
    return 1e-3 * max((arrival_ps[net] for net in netlist.outputs), default=0.0)
