"""A combinational two-operand circuit at gate level, and what it computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from multipliers.arrays import Int64Array, IntArray, Words
from multipliers.gates import GATE_KINDS
from multipliers.operands import MAX_TABLE_BITS, pair_patterns
from multipliers.simulation import CHUNK_WORDS, all_operand_pairs, integers, pack, simulate

ZERO, ONE = 0, 1
"""Nets 0 and 1 are the constants."""


@dataclass(frozen=True)
class Gate:
    """One gate: ``kind`` names a ``GateKind``; nets are integers in the pin order of the kind."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Netlist:
    """A frozen gate-level circuit of two operands.

    Attributes:
        name: for messages.
        input_a: nets of operand a, least significant bit first.
        input_b: nets of operand b, least significant bit first.
        outputs: nets of the product, least significant bit first; any number of them, constants and inputs too.
        gates: in topological order (a gate comes after the gates that drive it, so loops cannot be stated).
        signed: whether operands and product are two's complement.

    Raises:
        ValueError: on an unknown kind, a wrong pin count, a net driven twice or used before it is driven.
    """

    name: str
    input_a: tuple[int, ...]
    input_b: tuple[int, ...]
    outputs: tuple[int, ...]
    gates: tuple[Gate, ...]
    signed: bool = False

    def __post_init__(self) -> None:
        driven = {ZERO, ONE}

        def drive(nets: Iterable[int], what: str) -> None:
            for net in nets:
                if net in driven:
                    raise ValueError(f"netlist '{self.name}': {what} drives net {net}, which is already driven")
                driven.add(net)

        def use(nets: Iterable[int], what: str) -> None:
            missing = [net for net in nets if net not in driven]
            if missing:
                raise ValueError(
                    f"netlist '{self.name}': {what} uses net(s) {missing} before anything drives them; "
                    "order the gates topologically"
                )

        drive(self.input_a, "operand a")
        drive(self.input_b, "operand b")
        for index, gate in enumerate(self.gates):
            what = f"gate {index} ({gate.kind})"
            if gate.kind not in GATE_KINDS:
                raise ValueError(f"netlist '{self.name}': {what} is unknown; known kinds: {', '.join(GATE_KINDS)}")
            kind = GATE_KINDS[gate.kind]
            if len(gate.inputs) != len(kind.inputs) or len(gate.outputs) != len(kind.outputs):
                raise ValueError(
                    f"netlist '{self.name}': {what} needs pins {kind.inputs} -> {kind.outputs}, "
                    f"got {len(gate.inputs)} -> {len(gate.outputs)}"
                )
            use(gate.inputs, what)
            drive(gate.outputs, what)
        use(self.outputs, "the product")

    def __repr__(self) -> str:
        kind = "signed" if self.signed else "unsigned"
        return f"Netlist({self.name!r}, {kind} {self.width_a} x {self.width_b} bits, {len(self.gates)} gates)"

    @property
    def width_a(self) -> int:
        """Bits of operand a."""
        return len(self.input_a)

    @property
    def width_b(self) -> int:
        """Bits of operand b."""
        return len(self.input_b)

    def gate_counts(self) -> dict[str, int]:
        """Number of gates of each kind present, sorted by name."""
        counts: dict[str, int] = {}
        for gate in self.gates:
            counts[gate.kind] = counts.get(gate.kind, 0) + 1
        return dict(sorted(counts.items()))

    @cached_property
    def nets(self) -> tuple[int, ...]:
        """All nets: the constants, operand a, operand b, then the gate outputs in order."""
        return (ZERO, ONE, *self.input_a, *self.input_b, *(net for gate in self.gates for net in gate.outputs))

    @cached_property
    def rows(self) -> dict[int, int]:
        """Net -> its place in ``nets``, which is its row in ``simulate``."""
        return {net: row for row, net in enumerate(self.nets)}

    def simulate(self, operands: Words) -> Words:
        """Settled values of all nets.

        Args:
            operands: bits of operand a then b, packed 64 pairs to a word, uint64 [width_a + width_b, words].

        Returns:
            uint64 [nets, words], rows as in ``nets``.
        """
        return simulate(self._pins, operands)

    def all_pairs(self) -> Iterator[Words]:
        """Bits of all operand pairs in order, in pieces of at most 1024 words, as ``simulate`` takes them.

        Pair index a * 2**width_b + b is bit (index % 64) of word (index // 64). Circuits of fewer than 6
        operand bits fill one word by repetition.

        Raises:
            ValueError: for more than 20 operand bits (use ``multiply``).
        """
        bits = self.width_a + self.width_b
        if bits > MAX_TABLE_BITS:
            raise ValueError(
                f"netlist '{self.name}': {bits} operand bits are too many for all pairs "
                f"(at most {MAX_TABLE_BITS}); use Netlist.multiply on operand arrays"
            )
        starts = range(0, max(1, (1 << bits) >> 6), CHUNK_WORDS)
        return (all_operand_pairs(self.width_a, self.width_b, start, CHUNK_WORDS) for start in starts)

    def product_table(self) -> IntArray:
        """Products of all operand pairs, int32 [2**width_a, 2**width_b], indexed by bit pattern.

        Raises:
            ValueError: for more than 20 operand bits, or more than 31 product bits.
        """
        pairs, count = self.all_pairs(), 1 << (self.width_a + self.width_b)
        if len(self.outputs) > 31:
            raise ValueError(f"netlist '{self.name}': {len(self.outputs)} product bits; a table holds at most 31")
        parts = [self._products(operands, min(count, 64 * CHUNK_WORDS)) for operands in pairs]
        return np.concatenate(parts).astype(np.int32).reshape(1 << self.width_a, 1 << self.width_b)

    def multiply(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Int64Array:
        """Evaluate the circuit on arrays of operands; any width, in pieces of bounded memory.

        Args:
            a: integers that fit ``width_a`` bits (two's complement if signed), any shape.
            b: integers that fit ``width_b`` bits, same shape.

        Returns:
            products, int64, same shape.

        Raises:
            ValueError: if shapes differ, an operand does not fit, or the product has more than 63 bits.
        """
        widths = self.width_a, self.width_b
        rows, columns = pair_patterns(f"netlist '{self.name}'", a, b, widths, self.signed)
        if len(self.outputs) > 63:
            raise ValueError(f"netlist '{self.name}': {len(self.outputs)} product bits; int64 holds at most 63")
        x, y, bits = rows.ravel(), columns.ravel(), sum(widths)
        if bits <= MAX_TABLE_BITS and x.size > 1 << bits and len(self.outputs) <= 31:
            return self.product_table()[x, y].astype(np.int64).reshape(rows.shape)
        products = np.empty(x.size, dtype=np.int64)
        for start in range(0, x.size, 64 * CHUNK_WORDS):
            piece = slice(start, start + 64 * CHUNK_WORDS)
            operands = np.concatenate([pack(x[piece], self.width_a), pack(y[piece], self.width_b)])
            products[piece] = self._products(operands, x[piece].size)
        return products.reshape(rows.shape)

    @cached_property
    def _pins(self) -> list[tuple[str, tuple[int, ...], int]]:
        """Gates as ``simulate`` takes them."""
        rows = self.rows
        return [(gate.kind, tuple([rows[net] for net in gate.inputs]), rows[gate.outputs[0]]) for gate in self.gates]

    def _products(self, operands: Words, count: int) -> Int64Array:
        values = self.simulate(operands)
        return integers([values[self.rows[net]] for net in self.outputs], count, self.signed)
