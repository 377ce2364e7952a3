"""What the exact multipliers share: they differ only in how they add."""

from __future__ import annotations

from typing import ClassVar

from multipliers.arrays import Int64Array
from multipliers.families._base import Family, require


class ExactFamily(Family):
    """A multiplier without parameters and without error."""

    exact: ClassVar[bool] = True

    def check(self, width_a: int, width_b: int) -> None:
        least = 2 if self.signed else 1
        kind = "signed widths" if self.signed else "widths"
        require(min(width_a, width_b) >= least, self.suffix, f"{kind} >= {least}", f"{width_a} x {width_b}")

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return a * b
