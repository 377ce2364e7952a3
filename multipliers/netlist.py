"""A combinational two-operand circuit at gate level, and its bit-parallel evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multipliers.gates import GATE_KINDS
from multipliers.multiplier import MAX_TABLE_BITS
from multipliers.statistics import IntArray

Words = npt.NDArray[np.uint64]

ZERO, ONE = 0, 1
"""Nets 0 and 1 are the constants."""

_LOW_PATTERNS = (
    0xAAAAAAAAAAAAAAAA,
    0xCCCCCCCCCCCCCCCC,
    0xF0F0F0F0F0F0F0F0,
    0xFF00FF00FF00FF00,
    0xFFFF0000FFFF0000,
    0xFFFFFFFF00000000,
)


@dataclass(frozen=True)
class Gate:
    """One gate: ``kind`` names a ``GateKind``; nets are integers in the pin order of the kind."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Netlist:
    """A frozen gate-level circuit of two operands.

    Attributes:
        name: for messages.
        input_a: nets of operand a, least significant bit first.
        input_b: nets of operand b, least significant bit first.
        outputs: nets of the product, least significant bit first; may be constants or inputs.
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

    def exhaustive_words(self) -> dict[int, Words]:
        """Value of every net for all operand pairs, packed 64 pairs to a word.

        Returns:
            net -> uint64 [max(1, 2**(width_a + width_b) / 64)]; pair index a * 2**width_b + b is bit (index
            % 64) of word (index // 64). Circuits of fewer than 6 operand bits fill one word by repetition.

        Raises:
            ValueError: for more than 20 operand bits (use ``multiply``).
        """
        bits = self.width_a + self.width_b
        if bits > MAX_TABLE_BITS:
            raise ValueError(
                f"netlist '{self.name}': {bits} operand bits are too many for all pairs "
                f"(at most {MAX_TABLE_BITS}); use Netlist.multiply on operand arrays"
            )
        index = np.arange(max(1, (1 << bits) >> 6), dtype=np.uint64)
        values: dict[int, Words] = {}
        for position, net in enumerate((*self.input_b, *self.input_a)):
            if position < 6:
                values[net] = np.full(index.size, _LOW_PATTERNS[position], dtype=np.uint64)
            else:
                values[net] = -((index >> np.uint64(position - 6)) & np.uint64(1))
        return self._evaluate(values)

    def product_table(self) -> IntArray:
        """Products of all operand pairs, int32 [2**width_a, 2**width_b], indexed by bit pattern."""
        words = self.exhaustive_words()
        count = 1 << (self.width_a + self.width_b)
        table = self._assemble(words, count).astype(np.int32)
        return table.reshape(1 << self.width_a, 1 << self.width_b)

    def multiply(self, a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Evaluate the circuit on arrays of operands; any width, no table.

        Args:
            a: integers that fit ``width_a`` bits (two's complement if signed), any shape.
            b: integers that fit ``width_b`` bits, same shape.

        Returns:
            products, int64, same shape.

        Raises:
            ValueError: if shapes differ or an operand does not fit.
        """
        first, second = np.asarray(a), np.asarray(b)
        if first.shape != second.shape:
            raise ValueError(f"netlist '{self.name}': operand shapes differ, {first.shape} and {second.shape}")
        values = {
            **_packed(self, "a", first.ravel(), self.input_a),
            **_packed(self, "b", second.ravel(), self.input_b),
        }
        words = self._evaluate(values, max(1, -(-first.size // 64)))
        return self._assemble(words, first.size).reshape(first.shape)

    def _evaluate(self, values: dict[int, Words], size: int | None = None) -> dict[int, Words]:
        length = size if size is not None else next(iter(values.values())).size
        values[ZERO] = np.zeros(length, dtype=np.uint64)
        values[ONE] = np.full(length, ~np.uint64(0), dtype=np.uint64)
        for gate in self.gates:
            results = GATE_KINDS[gate.kind].function(*(values[net] for net in gate.inputs))
            values.update(zip(gate.outputs, results, strict=True))
        return values

    def _assemble(self, words: Mapping[int, Words], count: int) -> npt.NDArray[np.int64]:
        """Unpack the product bits of ``count`` pairs into integers."""
        products = np.zeros(count, dtype=np.int64)
        for position, net in enumerate(self.outputs):
            if net != ZERO:
                products |= unpack(words[net], count).astype(np.int64) << position
        if self.signed and self.outputs:
            top = len(self.outputs)
            products -= (products >> (top - 1)) << top
        return products


def unpack(words: Words, count: int) -> npt.NDArray[np.uint8]:
    """The first ``count`` bits of packed words, uint8 [count] of 0 and 1."""
    return np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), count=count, bitorder="little")


def _packed(netlist: Netlist, label: str, operand: npt.NDArray[np.generic], nets: tuple[int, ...]) -> dict[int, Words]:
    """Pack the bits of an operand array into words, one array per net."""
    width = len(nets)
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if netlist.signed else (0, (1 << width) - 1)
    if not np.issubdtype(operand.dtype, np.integer):
        raise ValueError(f"netlist '{netlist.name}': operand {label} must be integers, got {operand.dtype}")
    if operand.size and (int(operand.min()) < low or int(operand.max()) > high):
        raise ValueError(
            f"netlist '{netlist.name}': operand {label} must lie in {low}..{high}, "
            f"got {int(operand.min())}..{int(operand.max())}"
        )
    padded = np.zeros(max(1, -(-operand.size // 64)) * 64, dtype=np.int64)
    padded[: operand.size] = operand
    bits = ((padded[None, :] >> np.arange(width)[:, None]) & 1).astype(np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)
    return dict(zip(nets, packed, strict=True))
