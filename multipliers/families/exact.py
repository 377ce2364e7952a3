"""Exact multipliers: the references every other circuit is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.arithmetic import array_multiply, signed_partial_products, sum_rows
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, Int64Array, require


@dataclass(frozen=True)
class Exact(Family):
    """Unsigned array multiplier: AND partial products, rows of full and half adders."""

    family: ClassVar[str] = "exact"
    pattern: ClassVar[str] = "exact"

    @property
    def suffix(self) -> str:
        return "exact"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 1 and width_b >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return array_multiply(circuit, a, b)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return a * b


@dataclass(frozen=True)
class ExactSigned(Family):
    """Two's complement array multiplier (Baugh and Wooley, IEEE TC C-22(12), 1973, modified form)."""

    family: ClassVar[str] = "exact_signed"
    pattern: ClassVar[str] = "exact"
    signed: ClassVar[bool] = True

    @property
    def suffix(self) -> str:
        return "exact"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 2 and width_b >= 2, self.suffix, "signed widths >= 2", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return sum_rows(circuit, signed_partial_products(circuit, a, b), len(a) + len(b))

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        return a * b
