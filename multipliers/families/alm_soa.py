"""Approximate logarithmic multiplier with a set-one adder, ALM-SOA (Liu et al., IEEE TCAS-I 65(9), 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import ripple_add
from multipliers.blocks.logarithm import floor_log2, multiply_logarithms
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ONE


@dataclass(frozen=True)
class AlmSoa(Family):
    """Mitchell's multiplier whose adder of logarithms sets its low ``ones`` bits to 1.

    The carry into the rest of the adder is the AND of the mantissa bits ``ones`` - 1 of both operands. The
    ones, on average, make up for some of what Mitchell's multiplier falls short of. The sum of n-bit
    fractions is off by -2^(w-1) + 1 .. 2^w - 1 last places, the product by at most 2^(w-n) of Mitchell's; the
    fractions still sum to less than 2, so it fits. It is rounded down to an integer, and 0 if an operand is 0
    (both reconstructed: the published definition is of the adder).

    Measured MRE: all operands of 8 bits, w = 1..7: 3.53, 3.25, 3.09, 3.46, 5.58, 11.25, 23.46 %; 2 million
    random pairs of 16 bits, w = 8..13: 3.72, 3.62, 3.48, 3.35, 3.58, 5.35 % (Mitchell: 3.79 and 3.85 %).

    Attributes:
        ones: low bits of the sum set to one (w, or M in the paper), 1..max(width_a, width_b) - 1.
    """

    ones: int
    family: ClassVar[str] = "alm_soa"
    pattern: ClassVar[str] = r"almsoa(?P<ones>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 2 and width_b >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")
        limit = max(width_a, width_b) - 1
        require(1 <= self.ones <= limit, self.suffix, f"1..{limit} ones for {width_a} x {width_b}", self.ones)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return multiply_logarithms(circuit, a, b, self._add)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        bits = max(width_a, width_b) - 1
        p, q = floor_log2(a), floor_log2(b)
        x, y = ((value << bits >> power) & ((1 << bits) - 1) for value, power in ((a, p), (b, q)))
        high = (x >> self.ones) + (y >> self.ones) + ((x & y) >> (self.ones - 1) & 1)
        logarithm = (p + q << bits) + (high << self.ones | (1 << self.ones) - 1)
        significand = 1 << bits | logarithm & ((1 << bits) - 1)
        return np.where((a == 0) | (b == 0), 0, significand << (logarithm >> bits) >> bits)

    def _add(self, circuit: NetlistBuilder, x: list[Net], y: list[Net]) -> list[Net]:
        carry = circuit.and2(x[self.ones - 1], y[self.ones - 1])
        high = ripple_add(circuit, x[self.ones :], y[self.ones :], len(x) - self.ones + 1, carry)
        return [ONE] * self.ones + high
