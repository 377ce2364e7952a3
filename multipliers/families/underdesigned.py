"""Underdesigned multiplier (Kulkarni, Gupta, Ercegovac, VLSI Design 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import ripple_add
from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Underdesigned(Family):
    """Built recursively from 2x2 blocks that are exact but for 3 x 3 = 7; the blocks are added exactly.

    It never exceeds the exact product; the maximum relative error is 2/9. The paper has equal widths 2, 4, 8, 16;
    operands of other widths are extended by zeros to whole blocks.
    """

    family: ClassVar[str] = "underdesigned"
    pattern: ClassVar[str] = "udm"

    def check(self, width_a: int, width_b: int) -> None:
        require(min(width_a, width_b) >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width, widest = len(a) + len(b), max(len(a), len(b))
        if widest <= 2:
            return _block(circuit, [*a, ZERO][:2], [*b, ZERO][:2])[:width]
        half = 1 << ((widest - 1).bit_length() - 1)
        low_a, high_a, low_b, high_b = a[:half], a[half:], b[:half], b[half:]
        outer = self.build(circuit, low_a, low_b)
        if high_a and high_b:
            outer = outer + self.build(circuit, high_a, high_b)
        crossed = [self.build(circuit, x, y) for x, y in ((high_a, low_b), (low_a, high_b)) if x and y]
        middle = [ZERO] * half + sum_columns(circuit, crossed, width - half)
        return ripple_add(circuit, outer, middle, width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = a * b
        for i in range(0, width_a, 2):
            for j in range(0, width_b, 2):
                both_three = ((a >> i) & 3 == 3) & ((b >> j) & 3 == 3)
                total = total - (both_three.astype(np.int64) << (i + j + 1))
        return total


def _block(circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
    """The inexact 2x2 multiplier: its middle bit ORs two terms instead of adding them."""
    crossed = (circuit.and2(a[1], b[0]), circuit.and2(a[0], b[1]))
    return [circuit.and2(a[0], b[0]), circuit.or2(*crossed), circuit.and2(a[1], b[1]), ZERO]
