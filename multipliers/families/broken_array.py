"""Broken-array multiplier (BAM): Mahdiani et al., IEEE TCAS-I 57(4), 2010."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products
from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require


@dataclass(frozen=True)
class BrokenArray(Family):
    """Leaves out the cells right of a vertical and above a horizontal break level of the adder array.

    Kept are the partial products a_j b_i with i + j >= ``vertical`` and i >= ``horizontal``.

    Attributes:
        horizontal: rows (bits of b) left out.
        vertical: least significant columns left out.
    """

    horizontal: int
    vertical: int
    family: ClassVar[str] = "broken_array"
    pattern: ClassVar[str] = r"bam_h(?P<horizontal>\d+)v(?P<vertical>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        columns = width_a + width_b - 2
        require(
            0 <= self.horizontal < width_b and 0 <= self.vertical <= columns,
            self.suffix,
            f"horizontal 0..{width_b - 1} and vertical 0..{columns} for {width_a} x {width_b}",
            f"h = {self.horizontal}, v = {self.vertical}",
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        rows = partial_products(circuit, a, b, first_column=self.vertical, first_row=self.horizontal)
        return sum_columns(circuit, rows, len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = np.zeros(np.broadcast(a, b).shape, dtype=np.int64)
        for j in range(width_a):
            lowest = max(self.horizontal, self.vertical - j)
            total += ((a >> j) & 1) * ((b >> lowest) << lowest) << j
        return total
