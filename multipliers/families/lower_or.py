"""Array multiplier of lower-part-OR adders (LOA: Mahdiani et al., IEEE TCAS-I 57(4), 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products, ripple_add
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class LowerOr(Family):
    """Adds the rows one after the other with adders that OR the ``bits`` least significant product columns.

    Attributes:
        bits: columns l that are ORed; the carry into column l is the AND of the addends' bits l - 1.
    """

    bits: int
    family: ClassVar[str] = "lower_or"
    pattern: ClassVar[str] = r"loa(?P<bits>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        limit = width_a + width_b - 1
        require(min(width_a, width_b) >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        require(0 <= self.bits <= limit, self.suffix, f"0..{limit} columns for {width_a} x {width_b}", self.bits)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a) + len(b)
        rows = [row + [ZERO] * (width - len(row)) for row in partial_products(circuit, a, b)]
        total = rows[0]
        for row in rows[1:]:
            total = lower_or_add(circuit, total, row, self.bits)
        return total

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = np.zeros((), dtype=np.int64)
        for i in range(width_b):
            total = lower_or_sum(total, a * ((b >> i) & 1) << i, self.bits)
        return total


def lower_or_add(circuit: NetlistBuilder, x: Sequence[Net], y: Sequence[Net], low: int) -> list[Net]:
    """The lower-part-OR adder on two numbers of equal length; the carry out of the last bit is dropped."""
    carry = circuit.and2(x[low - 1], y[low - 1]) if low else ZERO
    ored = [circuit.or2(*bits) for bits in zip(x[:low], y[:low], strict=True)]
    return ored + ripple_add(circuit, x[low:], y[low:], len(x) - low, carry)


def lower_or_sum(x: Int64Array, y: Int64Array, low: int) -> Int64Array:
    """The same in arithmetic, nothing dropped: OR below bit ``low``, addition with one carry bit above."""
    carry = (x & y) >> (low - 1) & 1 if low else 0
    return ((x >> low) + (y >> low) + carry << low) | ((x | y) & ((1 << low) - 1))
