"""Significance-driven logic compression (Qiqieh, Shafik, Tarawneh, Sokolov, Yakovlev, DATE 2017), depth 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products
from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Sdlc(Family):
    """Rows 2r and 2r + 1 are merged by OR in the columns up to r + width_a - 1; the rest is added exactly.

    OR loses one where both bits are 1, so the product is never too large. Two rows that do not meet in a
    column pass unchanged. The paper has square multipliers; for others k is taken to be width_a.
    """

    family: ClassVar[str] = "sdlc"
    pattern: ClassVar[str] = "sdlc"

    def check(self, width_a: int, width_b: int) -> None:
        require(min(width_a, width_b) >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        rows = partial_products(circuit, a, b)
        merged = []
        for r, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=False)):
            end = r + len(a)
            ored = [circuit.or2(x, y) for x, y in zip([*first, ZERO][:end], second[:end], strict=True)]
            merged += [ored + first[end:], [ZERO] * end + second[end:]]
        unpaired = rows[len(merged) :]
        return sum_columns(circuit, merged + unpaired, len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        total = a * b
        neighbours = a & (a >> 1)
        for r in range(width_b // 2):
            lost = neighbours & ((1 << max(0, width_a - 1 - r)) - 1)
            total = total - ((b >> (2 * r)) & 3 == 3) * (lost << (2 * r + 1))
        return total
