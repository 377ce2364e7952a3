"""What segment multipliers share: of an operand only a segment is multiplied, at one of a few fixed offsets.

The lowest offset whose segment holds the leading one is taken. The highest offset is the length of the
operand less that of the segment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.columns import multiply_exactly
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family
from multipliers.netlist import ONE, ZERO


@dataclass(frozen=True)
class SegmentFamily(Family):
    """A segment multiplier; its families differ in where segments may start.

    Attributes:
        bits: segment length m.
    """

    bits: int

    @abstractmethod
    def offsets(self, width: int) -> tuple[int, ...]:
        """Where the segment of an operand may start: rising from 0 to the length of the operand less ``bits``."""

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return _multiply(circuit, a, b, self.offsets(len(a)), self.offsets(len(b)))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return _keep(a, width_a, self.offsets(width_a)) * _keep(b, width_b, self.offsets(width_b))


def _multiply(
    circuit: NetlistBuilder,
    a: Sequence[Net],
    b: Sequence[Net],
    offsets_a: Sequence[int],
    offsets_b: Sequence[int],
) -> list[Net]:
    """Product of the segments of a and b, shifted back, len(a) + len(b) bits."""
    segment_a, chosen_a = _segment(circuit, a, offsets_a)
    segment_b, chosen_b = _segment(circuit, b, offsets_b)
    product = multiply_exactly(circuit, segment_a, segment_b)
    ways: dict[int, list[Net]] = {}
    for offset_a, here_a in zip(offsets_a, chosen_a, strict=True):
        for offset_b, here_b in zip(offsets_b, chosen_b, strict=True):
            ways.setdefault(offset_a + offset_b, []).append(circuit.and2(here_a, here_b))
    shifts = {shift: circuit.any_of(nets) for shift, nets in ways.items()}
    return [
        circuit.any_of(
            circuit.and2(here, product[k - shift]) for shift, here in shifts.items() if 0 <= k - shift < len(product)
        )
        for k in range(len(a) + len(b))
    ]


def _keep(x: Int64Array, width: int, offsets: Sequence[int]) -> Int64Array:
    """x with the bits below its segment cleared."""
    length = width - offsets[-1]
    kept = (x >> offsets[-1]) << offsets[-1]
    for offset in reversed(offsets[:-1]):
        kept = np.where(x < 1 << (length + offset), (x >> offset) << offset, kept)
    return kept


def _segment(circuit: NetlistBuilder, x: Sequence[Net], offsets: Sequence[int]) -> tuple[list[Net], list[Net]]:
    """(bits of the segment, one-hot choice of its offset).

    A bit beyond the reach of the lower offsets implies, where it is 1, that none of them is taken: it is gated
    by "no higher one" alone, which is cheaper than by the choice.
    """
    length = len(x) - offsets[-1]
    reach = [0, *(length + offset for offset in offsets[:-1])]
    terms: list[list[Net]] = [[] for _ in range(length)]
    chosen: list[Net] = []
    higher = ZERO
    for offset, reached in reversed(list(zip(offsets, reach, strict=True))):
        needed = circuit.any_of(x[reached : length + offset]) if reached else ONE
        no_higher = circuit.inv(higher)
        here = circuit.and2(needed, no_higher)
        for i, bit in enumerate(x[offset : offset + length]):
            terms[i].append(circuit.and2(bit, no_higher if offset + i >= reached else here))
        chosen.append(here)
        higher = circuit.or2(higher, needed)
    return [circuit.any_of(bits) for bits in terms], chosen[::-1]
