"""Exact multipliers as Dadda trees (Dadda, Alta Frequenza 34, 1965): what every other circuit is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.blocks.arithmetic import signed_partial_products
from multipliers.blocks.columns import multiply_exactly, sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._exact_family import ExactFamily


@dataclass(frozen=True)
class Exact(ExactFamily):
    """Unsigned: columns brought down to 2 by way of 13, 9, 6, 4, 3 bits, then a ripple adder."""

    family: ClassVar[str] = "exact"
    pattern: ClassVar[str] = "exact"

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return multiply_exactly(circuit, a, b)


@dataclass(frozen=True)
class ExactSigned(ExactFamily):
    """Two's complement: the same tree on modified Baugh-Wooley rows (Baugh and Wooley, IEEE TC C-22(12), 1973)."""

    family: ClassVar[str] = "exact_signed"
    pattern: ClassVar[str] = "exact"
    signed: ClassVar[bool] = True

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return sum_columns(circuit, signed_partial_products(circuit, a, b), len(a) + len(b))
