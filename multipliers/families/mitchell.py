"""Mitchell's logarithmic multiplier (Mitchell, IRE Transactions on Electronic Computers EC-11(4), 1962)."""

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


@dataclass(frozen=True)
class Mitchell(Family):
    """Adds piecewise linear logarithms: a = 2^p (1 + x), b = 2^q (1 + y).

    The product is 2^(p+q) (1 + x + y) if x + y < 1, else 2^(p+q+1) (x + y), and 0 if an operand is 0. It
    never exceeds the exact product and falls short of it by at most 11.1 %.
    """

    family: ClassVar[str] = "mitchell"
    pattern: ClassVar[str] = "mitchell"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 2 and width_b >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return multiply_logarithms(circuit, a, b, _add)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        power_a, power_b = (np.left_shift(1, floor_log2(x)) for x in (a, b))
        linear = (a - power_a) * power_b + (b - power_b) * power_a
        scale = power_a * power_b
        product = np.where(linear < scale, scale + linear, 2 * linear)
        return np.where((a == 0) | (b == 0), 0, product)


def _add(circuit: NetlistBuilder, x: list[Net], y: list[Net]) -> list[Net]:
    return ripple_add(circuit, x, y, len(x) + 1)
