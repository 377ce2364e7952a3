"""What a synthesis tool would do to a circuit before it is costed, the same for circuits of any origin."""

from __future__ import annotations

import dataclasses

from multipliers.builder import NetlistBuilder
from multipliers.netlist import Netlist
from multipliers.synthesis.adder_recovery import recover_adders
from multipliers.synthesis.mapping import live_gates, map_gates
from multipliers.synthesis.netlist_editor import transistors
from multipliers.synthesis.sharing import share_equal_nets


def optimise(netlist: Netlist) -> Netlist:
    """The same function with fewer transistors.

    Constants are folded, structurally equal gates shared (functionally equal ones up to 20 operand bits), dead
    logic left out, adders recovered, half-used adders lowered and inversions absorbed, over and over until no
    transistor more is saved. So the result is never larger than ``netlist``, and optimising it again changes
    nothing.
    """
    while True:
        candidate = _improved(netlist)
        if transistors(candidate.gates) >= transistors(netlist.gates):
            return netlist
        netlist = candidate


def _improved(netlist: Netlist) -> Netlist:
    """One round. Adders come first: sharing would tie their inner nets to other logic."""
    used = dataclasses.replace(netlist, gates=tuple(live_gates(netlist.gates, netlist.outputs)))
    shared = share_equal_nets(recover_adders(used))

    def fresh() -> NetlistBuilder:
        return NetlistBuilder(netlist.name, netlist.width_a, netlist.width_b, signed=netlist.signed)

    gates, outputs = map_gates(shared.gates, shared.input_a + shared.input_b, shared.outputs, fresh)
    empty = fresh()
    return Netlist(netlist.name, empty.a, empty.b, outputs, gates, netlist.signed)
