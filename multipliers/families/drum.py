"""DRUM: dynamic range unbiased multiplier (Hashemi, Bahar, Reda, ICCAD 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import encode, leading_one, ripple_add, select, shift_left
from multipliers.blocks.columns import multiply_exactly
from multipliers.blocks.logarithm import floor_log2
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Drum(Family):
    """Multiplies ``bits``-bit segments that start at the leading ones.

    If the leading one of an operand is at bit l >= m, its m bits from l downwards are taken, the lowest of
    them set to 1 (which removes the bias), and the product is shifted back; a smaller operand is taken
    exactly. The relative error is at most (1 + 2^(1 - m))^2 - 1.

    Attributes:
        bits: segment length m, at least 3.
    """

    bits: int
    family: ClassVar[str] = "drum"
    pattern: ClassVar[str] = r"drum(?P<bits>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        limit = min(width_a, width_b)
        require(
            3 <= self.bits <= limit,
            self.suffix,
            f"segments of 3..{limit} bits for {width_a} x {width_b}",
            self.bits,
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        segment_a, shift_a = self._segment(circuit, a)
        segment_b, shift_b = self._segment(circuit, b)
        product = multiply_exactly(circuit, segment_a, segment_b)
        most = (len(a) - self.bits) + (len(b) - self.bits)
        shift = ripple_add(circuit, shift_a, shift_b, most.bit_length())
        return shift_left(circuit, product, shift, len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return self._rounded(a) * self._rounded(b)

    def _segment(self, circuit: NetlistBuilder, x: Sequence[Net]) -> tuple[list[Net], list[Net]]:
        """(segment bits, shift): x is about segment << shift."""
        one_hot, large = leading_one(circuit, x, lowest=self.bits)
        selectors = [circuit.inv(large), *one_hot]
        bits = [
            select(circuit, selectors, [x[shift + i] for shift in range(len(selectors))])
            for i in range(1, self.bits - 1)
        ]
        low, high = circuit.or2(x[0], large), circuit.or2(x[self.bits - 1], large)
        return [low, *bits, high], encode(circuit, [ZERO, *one_hot])

    def _rounded(self, x: Int64Array) -> Int64Array:
        shift = np.maximum(floor_log2(x) + 1 - self.bits, 0)
        return np.where(shift > 0, ((x >> shift) | 1) << shift, x)
