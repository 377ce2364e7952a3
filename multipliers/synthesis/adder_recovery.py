"""Recovery of half and full adders from simple gates.

A synthesis tool maps a sum and a carry of the same bits to one adder cell, which is smaller and switches less than
the gates it replaces; circuits distributed as logic expressions have lost their adders. They are found by the truth
tables of small cuts, so the search works for any operand width and any gates, and put in where an adder needs fewer
transistors than the gates that become useless.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from multipliers.gates import GATE_KINDS
from multipliers.netlist import Gate, Netlist
from multipliers.synthesis.cuts import VARIABLES, Cut, small_cuts
from multipliers.synthesis.netlist_editor import NetlistEditor


@dataclass(frozen=True)
class _Adder:
    """How an adder cell makes a pair of functions: which of its inputs and outputs are inverted."""

    kind: str
    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]

    @property
    def inverters(self) -> int:
        return sum(self.inputs) + sum(self.outputs)


def _adders(kind: str) -> dict[tuple[int, ...], _Adder]:
    """Truth tables of (sum, carry) -> the adder with the fewest inverters."""
    choices = (False, True)
    pins = len(GATE_KINDS[kind].inputs)
    adders = [
        _Adder(kind, inputs, outputs)
        for inputs in itertools.product(choices, repeat=pins)
        for outputs in itertools.product(choices, repeat=2)
    ]
    found: dict[tuple[int, ...], _Adder] = {}
    for adder in sorted(adders, key=lambda adder: adder.inverters):
        leaves = [table ^ 0xFF * flip for table, flip in zip(VARIABLES, adder.inputs, strict=False)]
        results = GATE_KINDS[kind].function(*leaves)
        key = tuple(table & 0xFF ^ 0xFF * flip for table, flip in zip(results, adder.outputs, strict=True))
        found.setdefault(key, adder)
    return found


_ADDERS = {3: _adders("FA"), 2: _adders("HA")}
_SUMS = {leaves: {total for total, _ in adders} for leaves, adders in _ADDERS.items()}
_CARRIES = {leaves: {carry for _, carry in adders} for leaves, adders in _ADDERS.items()}


_EXCLUSIVE = {0x66: "XOR2", 0x99: "XNOR2"}


def recover_adders(netlist: Netlist) -> Netlist:
    """The same circuit with adder cells wherever they save transistors: full adders, half adders, lone exclusive ORs.

    Inverted forms count too: XNOR3 and the majority of partly inverted bits also make a full adder.
    """
    editor = NetlistEditor(netlist)
    cuts = small_cuts(netlist)
    for leaves, pair, adder in sorted(_pairs(cuts), key=lambda pair: -len(pair[0])):
        if editor.has(*leaves, *pair):
            editor.replace(pair, _gates(adder, leaves, pair, editor))
    for net, choices in cuts.items():
        for leaves, table in choices.items():
            if len(leaves) == 2 and table in _EXCLUSIVE and editor.has(*leaves, net):
                editor.replace((net,), [Gate(_EXCLUSIVE[table], leaves, (net,))])
    return editor.netlist()


def _pairs(cuts: Mapping[int, Mapping[Cut, int]]) -> Iterator[tuple[Cut, tuple[int, int], _Adder]]:
    """(leaves, (sum net, carry net), adder) of all pairs of nets that an adder computes."""
    sums: dict[Cut, list[tuple[int, int]]] = {}
    carries: dict[Cut, list[tuple[int, int]]] = {}
    for net, choices in cuts.items():
        for leaves, table in choices.items():
            if table in _SUMS.get(len(leaves), ()):
                sums.setdefault(leaves, []).append((net, table))
            elif table in _CARRIES.get(len(leaves), ()):
                carries.setdefault(leaves, []).append((net, table))
    for leaves, totals in sums.items():
        for (total, first), (carry, second) in itertools.product(totals, carries.get(leaves, ())):
            yield leaves, (total, carry), _ADDERS[len(leaves)][first, second]


def _gates(adder: _Adder, leaves: Cut, pair: tuple[int, int], editor: NetlistEditor) -> list[Gate]:
    """The adder cell and its inverters, driving the nets of ``pair``."""
    before, after = [], []
    pins, outputs = list(leaves), list(pair)
    for position, flip in enumerate(adder.inputs):
        if flip:
            pins[position] = editor.fresh()
            before.append(Gate("INV", (leaves[position],), (pins[position],)))
    for position, flip in enumerate(adder.outputs):
        if flip:
            outputs[position] = editor.fresh()
            after.append(Gate("INV", (outputs[position],), (pair[position],)))
    return [*before, Gate(adder.kind, tuple(pins), tuple(outputs)), *after]
