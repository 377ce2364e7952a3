"""Two's complement truncated multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import signed_partial_products
from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class TruncatedColumnsSigned(Family):
    """Leaves out the partial products a_j b_i, i + j < ``columns``, of a Baugh-Wooley array.

    Attributes:
        columns: number of least significant columns left out; below the sign terms, so < min(width_a,
            width_b).
    """

    columns: int
    family: ClassVar[str] = "truncated_signed"
    pattern: ClassVar[str] = r"trunc(?P<columns>\d+)"
    signed: ClassVar[bool] = True

    def check(self, width_a: int, width_b: int) -> None:
        limit = min(width_a, width_b) - 1
        require(limit >= 1, self.suffix, "signed widths >= 2", f"{width_a} x {width_b}")
        require(
            0 <= self.columns <= limit,
            self.suffix,
            f"0..{limit} columns for {width_a} x {width_b}",
            self.columns,
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        rows = signed_partial_products(circuit, a, b, first_column=self.columns)
        return sum_columns(circuit, rows, len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        dropped = np.zeros(np.broadcast(a, b).shape, dtype=np.int64)
        for i in range(self.columns):
            dropped += ((b >> i) & 1) * (a & ((1 << (self.columns - i)) - 1)) << i
        return a * b - dropped


@dataclass(frozen=True)
class TruncatedOperandsSigned(Family):
    """Clears the low ``bits`` bits of both two's complement operands (rounding towards minus infinity).

    Attributes:
        bits: operand bits left out; at least two remain.
    """

    bits: int
    family: ClassVar[str] = "operand_truncated_signed"
    pattern: ClassVar[str] = r"optrunc(?P<bits>\d+)"
    signed: ClassVar[bool] = True

    def check(self, width_a: int, width_b: int) -> None:
        limit = min(width_a, width_b) - 2
        require(0 <= self.bits <= limit, self.suffix, f"0..{limit} bits for {width_a} x {width_b}", self.bits)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        x, y = a[self.bits :], b[self.bits :]
        return [ZERO] * (2 * self.bits) + sum_columns(circuit, signed_partial_products(circuit, x, y), len(x) + len(y))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return ((a >> self.bits) * (b >> self.bits)) << (2 * self.bits)
