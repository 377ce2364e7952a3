"""Small cuts of a netlist: sets of at most three nets that determine another net, with its truth table over them.

Cong and Ding, "FlowMap", IEEE TCAD 13(1), 1994, for cuts; the truth tables make it possible to find functions
whatever gates they are made of.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from multipliers.gates import GATE_KINDS, LogicFunction
from multipliers.netlist import ONE, ZERO, Netlist

Cut = tuple[int, ...]
"""Leaves of a cut: nets, ascending."""

VARIABLES = (0xAA, 0xCC, 0xF0)
"""Truth table of each leaf: bit i is the value for assignment i."""

_MAX_LEAVES = 3
_MAX_CUTS = 10
"""Cuts kept per net, the smallest ones."""


def small_cuts(netlist: Netlist) -> dict[int, dict[Cut, int]]:
    """Cuts of all nets, net -> {leaves: truth table}; the net itself is always one of its cuts.

    Truth tables are 8 bits whatever the number of leaves. Before a full adder only inverters are looked through.
    """
    cuts: dict[int, dict[Cut, int]] = {ZERO: {(): 0x00}, ONE: {(): 0xFF}}
    for net in (*netlist.input_a, *netlist.input_b):
        cuts[net] = {(net,): VARIABLES[0]}
    for gate in netlist.gates:
        choices = [cuts[net] for net in gate.inputs]
        if gate.kind == "FA":
            choices = [{leaves: table for leaves, table in cut.items() if len(leaves) == 1} for cut in choices]
        merged = _merged(GATE_KINDS[gate.kind].function, choices)
        for position, net in enumerate(gate.outputs):
            cuts[net] = {(net,): VARIABLES[0]}
            for leaves, tables in merged:
                cuts[net][leaves] = tables[position] & 0xFF
    return cuts


def _merged(function: LogicFunction, choices: list[dict[Cut, int]]) -> list[tuple[Cut, tuple[int, ...]]]:
    """Cuts of a gate from those of its inputs, with a truth table per output."""
    found: dict[frozenset[int], tuple[tuple[Cut, int], ...]] = {}
    for chosen in itertools.product(*[cuts.items() for cuts in choices]):
        union = frozenset([leaf for leaves, _ in chosen for leaf in leaves])
        if len(union) <= _MAX_LEAVES and union not in found:
            found[union] = chosen
    merged = []
    for union in _smallest(found):
        leaves = tuple(sorted(union))
        inputs = [_MOVED[tuple([leaves.index(leaf) for leaf in cut])][table] for cut, table in found[union]]
        merged.append((leaves, function(*inputs)))
    return merged


def _smallest(unions: Iterable[frozenset[int]]) -> list[frozenset[int]]:
    """The sets that contain no other one, the smallest first."""
    kept: list[frozenset[int]] = []
    for union in sorted(unions, key=len):
        if len(kept) < _MAX_CUTS and not any(other < union for other in kept):
            kept.append(union)
    return kept


def _moved(positions: tuple[int, ...]) -> list[int]:
    """For every truth table, the table after leaf k has become leaf ``positions[k]``."""
    sources = [
        sum((assignment >> position & 1) << leaf for leaf, position in enumerate(positions)) for assignment in range(8)
    ]
    return [sum((table >> source & 1) << i for i, source in enumerate(sources)) for table in range(256)]


_MOVED = {
    positions: _moved(positions)
    for count in range(_MAX_LEAVES + 1)
    for positions in itertools.combinations(range(_MAX_LEAVES), count)
}
