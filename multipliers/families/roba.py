"""Rounding-based approximate multiplier, RoBA (Zendegani et al., IEEE TVLSI 25(2), 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import leading_one, ripple_add
from multipliers.blocks.logarithm import floor_log2, scale
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Roba(Family):
    """Rounds a and b to the nearest powers of two A and B, and leaves (A - a)(B - b) out of a b.

    The product is A b + B a - A B. Halves round up (3 * 2^n to 2^(n + 2)), except 3 to 2. The relative error
    is at most 1/9 and about 0 on average. The product always fits: it exceeds a b only if one operand, say a,
    is rounded down and b up, and A b + B (a - A) < A 2^w_b + 2^w_b A / 2 is then less than 3/4 of
    2^(w_a + w_b).
    """

    family: ClassVar[str] = "roba"
    pattern: ClassVar[str] = "roba"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 1 and width_b >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        """A b + B (a - A) needs no subtractor: a - A costs one multiplexer a bit."""
        width = len(a) + len(b)
        a, b = sorted((a, b), key=len)  # the signed difference had better be the short one
        power_a, rises = _round(circuit, a)
        power_b, _ = _round(circuit, b)
        difference = _difference(circuit, a, rises)
        difference += [rises] * (width - len(difference))
        rows = scale(circuit, b, power_a, width), scale(circuit, difference, power_b, width)
        return ripple_add(circuit, *rows, width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return a * b - (_nearest_power(a) - a) * (_nearest_power(b) - b)


def _nearest_power(x: Int64Array) -> Int64Array:
    power = np.left_shift(1, floor_log2(x))
    up = (2 * x >= 3 * power) & (x > 3)
    return np.where(x == 0, 0, np.where(up, 2 * power, power))


def _round(circuit: NetlistBuilder, x: Sequence[Net]) -> tuple[list[Net], Net]:
    """(nearest power of two, one-hot, len(x) + 1 bits; 1 if it is above x)."""
    one_hot, _ = leading_one(circuit, x)
    power, rises = [*one_hot[:2], *[ZERO] * (len(x) - 1)], []
    for i in range(2, len(x)):
        rises.append(circuit.and2(one_hot[i], x[i - 1]))
        stays = circuit.and2(one_hot[i], circuit.inv(x[i - 1]))
        power[i] = circuit.or2(power[i], stays)
        power[i + 1] = rises[-1]
    return power, circuit.any_of(rises)


def _difference(circuit: NetlistBuilder, x: Sequence[Net], negative: Net) -> list[Net]:
    """x less its nearest power of two, in two's complement, len(x) + 1 bits.

    Below the leading one of x, at p, these are the bits of x whether 2^p or 2^(p + 1) is taken off; from there
    on they are the sign.
    """
    above = ZERO
    bits = [negative]
    for bit in reversed(x):
        bits.append(circuit.mux2(negative, bit, above))
        above = circuit.or2(above, bit)
    return bits[::-1]
