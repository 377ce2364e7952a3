"""Iterative logarithmic multiplier, ILM (Babic, Avramovic, Bulic, Microprocessors and Microsystems 35(1), 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import leading_one
from multipliers.blocks.columns import sum_columns
from multipliers.blocks.logarithm import floor_log2, residue, scale
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require


@dataclass(frozen=True)
class IterativeLog(Family):
    """Leaves out the product of the residues, then corrects with it, multiplied in the same way.

    One pass takes a = 2^p + r, b = 2^q + s to 2^(p+q) + r 2^q + s 2^p, which falls short of a b by r s; the
    next adds the pass of r and s. After n passes the error is the product of the operands without their n
    leading ones: less than 4^-n of the exact product, and none after as many passes as an operand has bits.

    Attributes:
        passes: basic blocks in a row, at least 1 and at most the bits of the narrower operand.
    """

    passes: int
    family: ClassVar[str] = "iterative_log"
    pattern: ClassVar[str] = r"ilm(?P<passes>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        limit = min(width_a, width_b)
        require(limit >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        require(1 <= self.passes <= limit, self.suffix, f"1..{limit} passes for {width_a} x {width_b}", self.passes)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a) + len(b)
        rows = []
        for _ in range(self.passes):
            (power_a, _), (power_b, _) = leading_one(circuit, a), leading_one(circuit, b)
            rest_a = residue(circuit, a)
            rows += [scale(circuit, b, power_a, width), scale(circuit, rest_a, power_b, width)]
            a, b = rest_a, residue(circuit, b)
        return sum_columns(circuit, rows, width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        rest_a, rest_b = a, b
        for _ in range(self.passes):
            rest_a, rest_b = (np.where(x > 0, x - np.left_shift(1, floor_log2(x)), 0) for x in (rest_a, rest_b))
        return a * b - rest_a * rest_b
