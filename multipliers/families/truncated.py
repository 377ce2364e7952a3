"""Truncated multipliers: the least significant columns of partial products, or operand bits, are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products
from multipliers.blocks.columns import multiply_exactly, sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class TruncatedColumns(Family):
    """Keeps the partial products a_j b_i of the columns i + j >= ``columns``.

    For k x k bits WCE = (d - 1) 2^d + 1 and MAE = WCE / 4 (d = columns <= k).

    Attributes:
        columns: number of least significant columns left out.
    """

    columns: int
    family: ClassVar[str] = "truncated"
    pattern: ClassVar[str] = r"trunc(?P<columns>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        limit = width_a + width_b - 2
        require(
            0 <= self.columns <= limit,
            self.suffix,
            f"0..{limit} columns for {width_a} x {width_b}",
            self.columns,
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return sum_columns(circuit, partial_products(circuit, a, b, first_column=self.columns), len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = np.zeros(np.broadcast(a, b).shape, dtype=np.int64)
        for i in range(width_b):
            dropped = max(0, self.columns - i)
            total += ((b >> i) & 1) * ((a >> dropped) << dropped) << i
        return total


@dataclass(frozen=True)
class TruncatedOperands(Family):
    """Clears the low ``bits`` bits of both operands: (a & ~(2^t - 1)) (b & ~(2^t - 1)).

    Attributes:
        bits: operand bits left out.
    """

    bits: int
    family: ClassVar[str] = "operand_truncated"
    pattern: ClassVar[str] = r"optrunc(?P<bits>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        limit = min(width_a, width_b) - 1
        require(0 <= self.bits <= limit, self.suffix, f"0..{limit} bits for {width_a} x {width_b}", self.bits)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return [ZERO] * (2 * self.bits) + multiply_exactly(circuit, a[self.bits :], b[self.bits :])

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        mask = ~((1 << self.bits) - 1)
        return (a & mask) * (b & mask)
