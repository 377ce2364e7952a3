"""Truncation- and rounding-based scalable approximate multiplier, TOSAM (Vahdat et al., IEEE TVLSI 27(5), 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import ripple_add
from multipliers.blocks.columns import multiply_exactly, sum_columns
from multipliers.blocks.logarithm import antilogarithm, floor_log2, leading_bits, logarithm
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ONE, ZERO


@dataclass(frozen=True)
class Tosam(Family):
    """Shortens the fractions of a = 2^p (1 + x), b = 2^q (1 + y), more so in their product.

    The product is floor(2^(p+q) (1 + x_t + y_t + x_h y_h)), 0 if an operand is 0; x_n is the fraction
    truncated to n bits plus half of its last place. The sum is at most 4 - 2^-t - 2^-h + 2^(-2h - 2), hence
    below 4, so the product always fits.

    Attributes:
        product_bits: fraction bits h in the product, at least 0.
        sum_bits: fraction bits t in the sum, more than h and less than the bits of the wider operand.
    """

    product_bits: int
    sum_bits: int
    family: ClassVar[str] = "tosam"
    pattern: ClassVar[str] = r"tosam_h(?P<product_bits>\d+)t(?P<sum_bits>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 2 and width_b >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")
        limit = max(width_a, width_b) - 1
        require(
            0 <= self.product_bits < self.sum_bits <= limit,
            self.suffix,
            f"0 <= h < t <= {limit} for {width_a} x {width_b}",
            f"h = {self.product_bits}, t = {self.sum_bits}",
        )

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        log_a, log_b = logarithm(circuit, a), logarithm(circuit, b)
        nonzero = circuit.and2(log_a.nonzero, log_b.nonzero)
        total = self._add(circuit, log_a.fraction, log_b.fraction)
        significand = [circuit.and2(bit, nonzero) for bit in total]
        width = len(a) + len(b)
        exponent = ripple_add(circuit, log_a.characteristic, log_b.characteristic, (width - 2).bit_length())
        return antilogarithm(circuit, exponent, significand, self._point, width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        h, t = self.product_bits, self.sum_bits
        p, q = floor_log2(a), floor_log2(b)
        x_t, y_t = (self._halves(value, power, t) for value, power in ((a, p), (b, q)))
        x_h, y_h = (self._halves(value, power, h) for value, power in ((a, p), (b, q)))
        linear = (2 << t) + x_t + y_t  # in units of 2^-(t + 1), even
        significand = (linear >> 1 << self._point - t) + (x_h * y_h << self._point - 2 * h - 2)
        return np.where((a == 0) | (b == 0), 0, significand << p + q >> self._point)

    def _add(self, circuit: NetlistBuilder, x: Sequence[Net], y: Sequence[Net]) -> list[Net]:
        """1 + x_t + y_t + x_h y_h of two fractions; the two halves of a last place in the sum are its carry-in."""
        h, t, point = self.product_bits, self.sum_bits, self._point
        product = multiply_exactly(circuit, [ONE, *leading_bits(x, h)], [ONE, *leading_bits(y, h)])
        linear = ripple_add(circuit, leading_bits(x, t), leading_bits(y, t), t + 1, ONE)
        rows = [[ZERO] * (point - t) + linear, [ZERO] * point + [ONE], [ZERO] * (point - 2 * h - 2) + product]
        return sum_columns(circuit, rows, point + 2)

    @property
    def _point(self) -> int:
        """Fraction bits of the sum."""
        return max(self.sum_bits, 2 * self.product_bits + 2)

    @staticmethod
    def _halves(value: Int64Array, power: Int64Array, bits: int) -> Int64Array:
        """Fraction of ``value`` truncated to ``bits`` bits plus half of the last place, in half last places."""
        residue = value - np.left_shift(1, power)
        return 2 * (residue << bits >> power) + 1
