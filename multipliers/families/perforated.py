"""Partial product perforation (Zervakis et al., IEEE TVLSI 24(10), 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products, signed_partial_products
from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Perforated(Family):
    """Leaves out ``count`` successive rows of partial products: a x (b with those bits cleared).

    Attributes:
        first: first row (bit of b) left out.
        count: number of rows left out.
    """

    first: int
    count: int
    family: ClassVar[str] = "perforated"
    pattern: ClassVar[str] = r"perf_j(?P<first>\d+)n(?P<count>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 1 and width_b >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        last = self.first + self.count
        require(
            self.first >= 0 and 0 <= self.count < width_b and last <= width_b,
            self.suffix,
            f"rows within 0..{width_b - 1}, at least one left",
            f"{self.first}..{last - 1}",
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        rows = partial_products(circuit, a, b)
        kept = rows[: self.first] + rows[self.first + self.count :]
        return sum_columns(circuit, [[ZERO], *kept], len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return a * (b & ~(((1 << self.count) - 1) << self.first))


@dataclass(frozen=True)
class PerforatedSigned(Family):
    """Two's complement: a x (b with those bits cleared), as rows of a Baugh-Wooley array.

    Attributes:
        first: first row (bit of b) left out.
        count: number of rows left out; the row of the sign bit stays.
    """

    first: int
    count: int
    family: ClassVar[str] = "perforated_signed"
    pattern: ClassVar[str] = Perforated.pattern
    signed: ClassVar[bool] = True

    def check(self, width_a: int, width_b: int) -> None:
        require(min(width_a, width_b) >= 2, self.suffix, "signed widths >= 2", f"{width_a} x {width_b}")
        require(
            self.first >= 0 and self.count >= 0 and self.first + self.count < width_b,
            self.suffix,
            f"rows within 0..{width_b - 2}",
            f"{self.first}..{self.first + self.count - 1}",
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        cleared = [*b[: self.first], *[ZERO] * self.count, *b[self.first + self.count :]]
        return sum_columns(circuit, signed_partial_products(circuit, a, cleared), len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return a * (b & ~(((1 << self.count) - 1) << self.first))
