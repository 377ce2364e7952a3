"""Underdesigned multiplier (Kulkarni, Gupta, Ercegovac, VLSI Design 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arithmetic import ripple_add
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, Int64Array, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Underdesigned(Family):
    """Built recursively from 2x2 blocks that are exact but for 3 x 3 = 7; the blocks are added exactly.

    It never exceeds the exact product; the maximum relative error is 2/9.
    """

    family: ClassVar[str] = "underdesigned"
    pattern: ClassVar[str] = "udm"

    @property
    def suffix(self) -> str:
        return "udm"

    def check(self, width_a: int, width_b: int) -> None:
        powers = width_a == width_b >= 2 and width_a & (width_a - 1) == 0
        require(powers, self.suffix, "equal widths 2, 4, 8, 16, ...", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a)
        if width == 2:
            crossed = (circuit.and2(a[1], b[0]), circuit.and2(a[0], b[1]))
            return [circuit.and2(a[0], b[0]), circuit.or2(*crossed), circuit.and2(a[1], b[1]), ZERO]
        half = width // 2
        low, high = slice(None, half), slice(half, None)
        outer = self.build(circuit, a[low], b[low]) + self.build(circuit, a[high], b[high])
        first, second = self.build(circuit, a[high], b[low]), self.build(circuit, a[low], b[high])
        middle = [ZERO] * half + ripple_add(circuit, first, second, width + 1)
        return ripple_add(circuit, outer, middle, 2 * width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = a * b
        for i in range(0, width_a, 2):
            for j in range(0, width_b, 2):
                both_three = ((a >> i) & 3 == 3) & ((b >> j) & 3 == 3)
                total = total - (both_three.astype(np.int64) << (i + j + 1))
        return total
