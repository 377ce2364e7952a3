"""Sharing of functionally equal nets: equal, complementary and constant signals, found by exhaustive simulation."""

from __future__ import annotations

import dataclasses

from multipliers.netlist import ONE, ZERO, Gate, Netlist
from multipliers.operands import MAX_TABLE_BITS


def share_equal_nets(netlist: Netlist) -> Netlist:
    """The same circuit with every signal made once: readers of a later equal net read the first one, readers of
    its complement an inverter.

    Exact, since nets are compared for all operand pairs; circuits of more than 20 operand bits are returned
    as they are. Gates that nothing reads any more stay; ``live_gates`` leaves them out.
    """
    if netlist.width_a + netlist.width_b > MAX_TABLE_BITS:
        return netlist
    group = dict(zip(netlist.nets, _groups(netlist), strict=True))
    first = {group[net]: net for net in (*netlist.input_b, *netlist.input_a, ONE, ZERO)}
    source: dict[int, int] = {}
    fresh = max(netlist.nets) + 1
    gates: list[Gate] = []
    for gate in netlist.gates:
        gates.append(Gate(gate.kind, tuple([source.get(net, net) for net in gate.inputs]), gate.outputs))
        for net in gate.outputs:
            same = group[net]
            if same in first:
                source[net] = first[same]
            elif ~same in first and gate.kind != "INV":
                gates.append(Gate("INV", (first[~same],), (fresh,)))
                first[same] = source[net] = fresh
                fresh += 1
            else:
                first[same] = net
    if not source:
        return netlist
    outputs = tuple(source.get(net, net) for net in netlist.outputs)
    return dataclasses.replace(netlist, gates=tuple(gates), outputs=outputs)


def _groups(netlist: Netlist) -> list[int]:
    """A number for every net: equal nets have the same number g, their complements ~g."""
    groups = [0] * len(netlist.nets)
    flips = None
    for operands in netlist.all_pairs():
        values = netlist.simulate(operands)
        if flips is None:  # complements are compared as equals: the value for the first pair becomes 0
            flips = -(values[:, :1] & 1)
        values ^= flips
        known: dict[tuple[int, bytes], int] = {}
        keys = zip(groups, (row.tobytes() for row in values), strict=True)
        groups = [known.setdefault(key, len(known)) for key in keys]
    assert flips is not None
    return [~group if flip else group for group, flip in zip(groups, flips[:, 0].tolist(), strict=True)]
