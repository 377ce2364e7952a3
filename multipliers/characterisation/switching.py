"""How often the nets of a circuit toggle per operation: zero-delay toggles, and glitches beyond them.

Zero-delay: every net settles at once, so it toggles when its final value changes. Unit-delay: every gate takes one
unit of time, so a gate whose inputs arrive along paths of different length toggles more often than that; the surplus
are its glitches (both models: Ghosh, Devadas, Keutzer, White, "Estimation of average switching activity in
combinational and sequential circuits", DAC 1992). An adder takes one unit whatever cells it is made of, so glitches
do not depend on whether a library has adder cells.

Under uniform operands everything is counted in integers, so results are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multipliers.arrays import FloatArray, Int64Array, Words
from multipliers.characterisation.stimulus import TRANSITIONS, Stimulus
from multipliers.gates import GATE_KINDS
from multipliers.netlist import Gate, Netlist
from multipliers.operands import MAX_TABLE_BITS
from multipliers.simulation import ones, unpack

_BLOCK_WORDS = 256
"""Words of transitions simulated at a time with unit delays, so that the state of the circuit stays in the cache."""

UnitGates = tuple[tuple[str, tuple[int, ...]], ...]


def zero_delay_toggles(netlist: Netlist, stimulus: Stimulus) -> FloatArray:
    """Expected toggles of every net per operation, without glitches.

    2 P (1 - P) for independent successive operand pairs, P = probability that the net is 1: over all operand pairs
    up to 20 operand bits; beyond, over the 131,072 pairs of the random transitions.

    Returns:
        float64 [nets], in the order of ``netlist.nets``.
    """
    if netlist.width_a + netlist.width_b > MAX_TABLE_BITS:
        probability = _share_of_ones(netlist, stimulus.transitions())
    elif stimulus.uniform:
        probability = _share_of_ones(netlist, netlist.all_pairs())
    else:
        probability = _weighted_share_of_ones(netlist, stimulus.pair_probabilities())
    return 2.0 * probability * (1.0 - probability)


def glitch_toggles(netlist: Netlist, stimulus: Stimulus, units: Iterable[Sequence[Gate]] | None = None) -> FloatArray:
    """Toggles of every net per operation with unit delays beyond the zero-delay ones, never negative.

    Measured on 65,536 random transitions.

    Args:
        netlist: the circuit.
        stimulus: its operands.
        units: the gates of ``netlist`` in groups that take one unit of time together; every gate alone when None.

    Returns:
        float64 [nets], in the order of ``netlist.nets``.
    """
    banks = _banks(netlist, [(gate,) for gate in netlist.gates] if units is None else units)
    before, after = stimulus.transitions()
    surplus = np.zeros(len(netlist.nets), dtype=np.int64)
    for start in range(0, before.shape[1], _BLOCK_WORDS):
        block = slice(start, start + _BLOCK_WORDS)
        settled = netlist.simulate(before[:, block])
        values = settled.copy()
        surplus += _settle(values, after[:, block], banks)
        surplus -= ones(settled ^ values)
    return surplus / TRANSITIONS


@dataclass(frozen=True, eq=False)
class _Bank:
    """All units of one structure, evaluated together.

    Attributes:
        gates: the gates of a unit as (kind, inputs); nets are numbered from 0, inputs first.
        inputs: rows of their input nets, intp [inputs, units].
        outputs: rows of the nets they drive, intp [outputs, units].
    """

    gates: UnitGates
    inputs: npt.NDArray[np.intp]
    outputs: npt.NDArray[np.intp]

    def evaluate(self, values: Words, active: npt.NDArray[np.intp]) -> list[Words]:
        """New values of the outputs of the active units, uint64 [units, words] each."""
        nets: list[Words] = list(values[self.inputs[:, active]])
        for kind, inputs in self.gates:
            nets.extend(GATE_KINDS[kind].function(*[nets[net] for net in inputs]))
        return nets[len(self.inputs) :]


def _banks(netlist: Netlist, units: Iterable[Sequence[Gate]]) -> list[_Bank]:
    rows = netlist.rows
    found: dict[UnitGates, list[tuple[list[int], list[int]]]] = {}
    for unit in units:
        driven = [net for gate in unit for net in gate.outputs]
        inputs = list(dict.fromkeys(net for gate in unit for net in gate.inputs if net not in driven))
        number = {net: index for index, net in enumerate(inputs + driven)}
        gates = tuple([(gate.kind, tuple([number[net] for net in gate.inputs])) for gate in unit])
        found.setdefault(gates, []).append(([rows[net] for net in inputs], [rows[net] for net in driven]))
    return [
        _Bank(gates, np.array([i for i, _ in nets], dtype=np.intp).T, np.array([o for _, o in nets], dtype=np.intp).T)
        for gates, nets in found.items()
    ]


def _settle(values: Words, operands: Words, banks: list[_Bank]) -> Int64Array:
    """Apply new operands to a settled circuit and let it settle with unit delays.

    Args:
        values: all nets, uint64 [nets, words]; changed in place.
        operands: new operand bits, uint64 [operand bits, words].
        banks: the circuit.

    Returns:
        toggles of every net, int64 [nets].
    """
    toggles = np.zeros(len(values), dtype=np.int64)
    changed = np.zeros(len(values), dtype=bool)

    def set_nets(rows: npt.NDArray[np.intp], new: Words) -> None:
        counts = ones(values[rows] ^ new)
        toggles[rows] += counts
        changed[rows] = counts > 0
        values[rows] = new

    set_nets(np.arange(2, 2 + len(operands)), operands)
    while changed.any():
        updates: list[tuple[npt.NDArray[np.intp], Words]] = []
        for bank in banks:
            active = np.flatnonzero(changed[bank.inputs].any(axis=0))
            if active.size:
                updates.extend(zip(bank.outputs[:, active], bank.evaluate(values, active), strict=True))
        changed[:] = False
        for rows, new in updates:
            set_nets(rows, new)
    return toggles


def _share_of_ones(netlist: Netlist, pieces: Iterable[Words]) -> FloatArray:
    """Share of operand pairs for which each net is 1, float64 [nets]."""
    count = np.zeros(len(netlist.nets), dtype=np.int64)
    total = 0
    for operands in pieces:
        count += ones(netlist.simulate(operands))
        total += 64 * operands.shape[1]
    return count / total


def _weighted_share_of_ones(netlist: Netlist, probabilities: FloatArray) -> FloatArray:
    """Probability that each net is 1, float64 [nets], from the probabilities of all operand pairs in order."""
    total = np.zeros(len(netlist.nets))
    start = 0
    for operands in netlist.all_pairs():
        weights = probabilities[start : start + 64 * operands.shape[1]]
        total += [unpack(words, weights.size) @ weights for words in netlist.simulate(operands)]
        start += weights.size
    return total
