"""Signed circuits from unsigned families: magnitudes are multiplied, the sign is put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import negate_if
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require


@dataclass(frozen=True)
class SignMagnitude(Family):
    """Two's complement operands and product around an unsigned core.

    The magnitude of -2^(w-1) is 2^(w-1) and fits the w unsigned bits of the core. A core whose product of
    zero is not zero keeps that product. The core must not exceed 2^(w_a + w_b - 1) - 1 on magnitudes.

    Attributes:
        core: the unsigned family.
    """

    core: Family
    family: ClassVar[str] = "sign_magnitude"
    pattern: ClassVar[str] = "sm_(?P<core>.+)"
    signed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(not self.core.signed, "sign-magnitude", "an unsigned core", self.core)

    @property
    def suffix(self) -> str:
        return f"sm_{self.core.suffix}"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 2 and width_b >= 2, self.suffix, "signed widths >= 2", f"{width_a} x {width_b}")
        self.core.check(width_a, width_b)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        magnitudes = [negate_if(circuit, x, x[-1]) for x in (a, b)]
        product = self.core.build(circuit, *magnitudes)
        return negate_if(circuit, product, circuit.xor2(a[-1], b[-1]))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        magnitude = self.core.product(np.abs(a), np.abs(b), width_a, width_b)
        return np.where((a < 0) != (b < 0), -magnitude, magnitude)
