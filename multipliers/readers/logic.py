"""Gates for operations on bits: what expressions, primitives, compound cells and word-level cells are made of."""

from __future__ import annotations

from collections.abc import Sequence

from multipliers.blocks.arithmetic import partial_products, ripple_add, signed_partial_products
from multipliers.blocks.columns import sum_columns
from multipliers.gates import GATE_KINDS
from multipliers.netlist import ONE, ZERO
from multipliers.readers.graph import NetGraph

_EMPTY = {"AND": ONE, "OR": ZERO, "XOR": ZERO}
_INVERTED = {"AND": "NAND", "OR": "NOR", "XOR": "XNOR"}


class Logic:
    """Adds gates to a graph. Constants are folded: they mostly come from widening, not from the author."""

    def __init__(self, graph: NetGraph) -> None:
        self.graph = graph

    def inv(self, x: int) -> int:
        """NOT x."""
        return 1 - x if x in (ZERO, ONE) else self.graph.gate("INV", x)[0]

    def two(self, function: str, x: int, y: int) -> int:
        """``"AND"``, ``"OR"`` or ``"XOR"`` of two bits."""
        for constant, other in ((x, y), (y, x)):
            if constant == _EMPTY[function]:
                return other
            if constant in (ZERO, ONE):
                return self.inv(other) if function == "XOR" else constant
        return self.graph.gate(f"{function}2", x, y)[0]

    def all(self, function: str, bits: Sequence[int]) -> int:
        """``"AND"``, ``"OR"`` or ``"XOR"`` of any number of bits, a balanced tree."""
        level = list(bits) or [_EMPTY[function]]
        while len(level) > 1:
            paired = [self.two(function, level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            level = paired + level[len(paired) * 2 :]
        return level[0]

    def inverted(self, function: str, bits: Sequence[int]) -> int:
        """The complement of ``all``; one inverting gate where there is one of that many inputs."""
        kind = f"{_INVERTED[function]}{len(bits)}"
        if kind in GATE_KINDS and ZERO not in bits and ONE not in bits:
            return self.graph.gate(kind, *bits)[0]
        return self.inv(self.all(function, bits))

    def and2(self, x: int, y: int) -> int:
        """x AND y."""
        return self.two("AND", x, y)

    def nand2(self, x: int, y: int) -> int:
        """NOT (x AND y)."""
        return self.inverted("AND", (x, y))

    def half_add(self, x: int, y: int) -> tuple[int, int]:
        """(sum, carry) of two bits."""
        return self.full_add(x, y, ZERO)

    def full_add(self, x: int, y: int, z: int) -> tuple[int, int]:
        """(sum, carry) of three bits."""
        bits = [bit for bit in (x, y, z) if bit != ZERO]
        if len(bits) < 2:
            return (bits or [ZERO])[0], ZERO
        total, carry = self.graph.gate("FA" if len(bits) == 3 else "HA", *bits)
        return total, carry

    def mux(self, if_zero: int, if_one: int, select: int) -> int:
        """``if_one`` where select is 1, else ``if_zero``."""
        if select in (ZERO, ONE):
            return if_one if select else if_zero
        if if_zero == if_one:
            return if_zero
        if (if_zero, if_one) == (ONE, ZERO):
            return self.inv(select)
        if if_zero == ZERO:
            return self.and2(if_one, select)
        if if_one == ONE:
            return self.two("OR", if_zero, select)
        return self.graph.gate("MUX2", if_zero, if_one, select)[0]

    def add(self, x: Sequence[int], y: Sequence[int], carry: int = ZERO) -> list[int]:
        """x + y + carry modulo 2**len(x), a ripple-carry adder; operands of equal width."""
        return ripple_add(self, x, y, len(x), carry)

    def subtract(self, x: Sequence[int], y: Sequence[int]) -> list[int]:
        """x - y modulo 2**len(x)."""
        return self.add(x, [self.inv(bit) for bit in y], ONE)

    def multiply(self, x: Sequence[int], y: Sequence[int], count: int, *, signed: bool) -> list[int]:
        """The low ``count`` bits of x * y by a Dadda tree, on modified Baugh-Wooley rows when ``signed``.

        A behavioural product says nothing about gates; this is the structure of our exact reference.
        """
        x, y = (resized(word, max(len(word), 2), signed) for word in (x, y))
        self.graph.spend(len(x) * len(y))
        rows = signed_partial_products(self, x, y) if signed else partial_products(self, x, y)
        return resized(sum_columns(self, rows, min(count, len(x) + len(y))), count, signed)

    def equal(self, x: Sequence[int], y: Sequence[int]) -> int:
        """Whether two words of equal width are the same."""
        return self.inverted("OR", [self.two("XOR", *pair) for pair in zip(x, y, strict=True)])


def resized(bits: Sequence[int], count: int, signed: bool) -> list[int]:
    """A word cut to ``count`` bits, or extended by its sign bit or by zeros."""
    padding = bits[-1] if signed and bits else ZERO
    return [*bits[:count], *[padding] * (count - len(bits))]
