"""Truncated radix-4 Booth multiplier: the rows lose their low bits before they are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.families.booth import booth_rows


@dataclass(frozen=True)
class BoothTruncated(Family):
    """Signed; each row d_i a 4^i is floored to a multiple of 2^bits, so the product is never too large.

    WCE = sum over the rows with 4^i < 2^v of 2^v - 4^i (8 bits, v = 6: 171).

    Attributes:
        bits: low bits v left out of every row.
    """

    bits: int
    family: ClassVar[str] = "booth_truncated"
    pattern: ClassVar[str] = r"booth_v(?P<bits>\d+)"
    signed: ClassVar[bool] = True

    def check(self, width_a: int, width_b: int) -> None:
        require(min(width_a, width_b) >= 2, self.suffix, "signed widths >= 2", f"{width_a} x {width_b}")
        require(0 <= self.bits <= width_a, self.suffix, f"0..{width_a} bits for {width_a} x {width_b}", self.bits)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a) + len(b)
        return sum_columns(circuit, booth_rows(circuit, a, b, width, floored=self.bits), width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = np.zeros(np.broadcast(a, b).shape, dtype=np.int64)
        doubled = 2 * b
        for i in range(0, width_b, 2):
            window = (doubled >> i) & 7
            digit = (window >> 1) + (window & 1) - 4 * (window >> 2)
            total += ((digit * a << i) >> self.bits) << self.bits
        return total
