"""Enhanced static segment multiplier, ESSM (Narayanamoorthy et al., IEEE TVLSI 23(6), 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, Int64Array, require
from multipliers.families._segments import keep_segment, multiply_segments


@dataclass(frozen=True)
class EnhancedSegment(Family):
    """A static segment multiplier with a third segment, half-way between the low and the high one.

    An operand of k bits is represented by its m bits from bit 0, (k - m)/2 or k - m on, whichever is the
    lowest that holds its leading one. k - m must be even, and the three segments must cover the operand: m >=
    k/3. An operand of at most m bits is exact.

    Attributes:
        bits: segment length m.
    """

    bits: int
    family: ClassVar[str] = "enhanced_segment"
    pattern: ClassVar[str] = r"essm(?P<bits>\d+)"

    @property
    def suffix(self) -> str:
        return f"essm{self.bits}"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 1 and width_b >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        allowed = [
            bits
            for bits in range(1, max(width_a, width_b) + 1)
            if all(k <= bits or (k <= 3 * bits and (k - bits) % 2 == 0) for k in (width_a, width_b))
        ]
        listed = ", ".join(map(str, allowed))
        require(self.bits in allowed, self.suffix, f"segments of {listed} bits for {width_a} x {width_b}", self.bits)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return multiply_segments(circuit, a, b, self._offsets(len(a)), self._offsets(len(b)))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        kept_a = keep_segment(a, width_a, self._offsets(width_a))
        return kept_a * keep_segment(b, width_b, self._offsets(width_b))

    def _offsets(self, width: int) -> tuple[int, ...]:
        spare = width - self.bits
        return (0, spare // 2, spare) if spare > 0 else (0,)
