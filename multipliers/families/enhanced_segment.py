"""Enhanced static segment multiplier, ESSM (Narayanamoorthy et al., IEEE TVLSI 23(6), 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from multipliers.families._base import require
from multipliers.families._segment_family import SegmentFamily


@dataclass(frozen=True)
class EnhancedSegment(SegmentFamily):
    """A static segment multiplier with a third segment, half-way between the low and the high one.

    An operand of k bits is represented by its m bits from bit 0, (k - m)/2 or k - m on, whichever is the
    lowest that holds its leading one. k - m must be even, and the three segments must cover the operand: m >=
    k/3. An operand of at most m bits is exact.

    Attributes:
        bits: segment length m.
    """

    family: ClassVar[str] = "enhanced_segment"
    pattern: ClassVar[str] = r"essm(?P<bits>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 1 and width_b >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        allowed = [
            bits
            for bits in range(1, max(width_a, width_b) + 1)
            if all(k <= bits or (k <= 3 * bits and (k - bits) % 2 == 0) for k in (width_a, width_b))
        ]
        listed = ", ".join(map(str, allowed))
        require(self.bits in allowed, self.suffix, f"segments of {listed} bits for {width_a} x {width_b}", self.bits)

    def offsets(self, width: int) -> tuple[int, ...]:
        spare = width - self.bits
        return (0, spare // 2, spare) if spare > 0 else (0,)
