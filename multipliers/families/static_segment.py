"""Static segment multiplier, SSM (Narayanamoorthy et al., IEEE TVLSI 23(6), 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from multipliers.families._base import require
from multipliers.families._segment_family import SegmentFamily


@dataclass(frozen=True)
class StaticSegment(SegmentFamily):
    """Multiplies ``bits``-bit segments that start at bit 0 or end at the most significant bit.

    An operand of k bits is represented by its high m bits if it is 2^m or more, else by its low m bits, which
    are all of it. The two segments must cover the operand: m >= k/2. An operand of at most m bits is exact.

    Attributes:
        bits: segment length m.
    """

    family: ClassVar[str] = "static_segment"
    pattern: ClassVar[str] = r"ssm(?P<bits>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 1 and width_b >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        widest = max(width_a, width_b)
        require(
            (widest + 1) // 2 <= self.bits <= widest,
            self.suffix,
            f"segments of {(widest + 1) // 2}..{widest} bits for {width_a} x {width_b}",
            self.bits,
        )

    def offsets(self, width: int) -> tuple[int, ...]:
        return (0, width - self.bits) if width > self.bits else (0,)
