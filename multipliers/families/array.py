"""Exact array multipliers: one ripple-carry adder per row of partial products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.blocks.arithmetic import partial_products, signed_partial_products, sum_rows
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._exact_family import ExactFamily


@dataclass(frozen=True)
class Array(ExactFamily):
    """Unsigned: AND partial products, rows of full and half adders."""

    family: ClassVar[str] = "array"
    pattern: ClassVar[str] = "array"

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return sum_rows(circuit, partial_products(circuit, a, b), len(a) + len(b))


@dataclass(frozen=True)
class ArraySigned(ExactFamily):
    """Two's complement (Baugh and Wooley, IEEE TC C-22(12), 1973, modified form)."""

    family: ClassVar[str] = "array_signed"
    pattern: ClassVar[str] = "array"
    signed: ClassVar[bool] = True

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return sum_rows(circuit, signed_partial_products(circuit, a, b), len(a) + len(b))
