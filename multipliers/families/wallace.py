"""Wallace tree multipliers (Wallace, IEEE Transactions on Electronic Computers EC-13(1), 1964)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.blocks.arithmetic import partial_products, ripple_add, signed_partial_products
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._exact_family import ExactFamily
from multipliers.netlist import ZERO

Row = list[Net]


@dataclass(frozen=True)
class Wallace(ExactFamily):
    """Exact unsigned: rows are added three at a time, carries saved, until two are left for a ripple adder."""

    family: ClassVar[str] = "wallace"
    pattern: ClassVar[str] = "wallace"

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return _add_rows(circuit, partial_products(circuit, a, b), len(a) + len(b))


@dataclass(frozen=True)
class WallaceSigned(ExactFamily):
    """Exact two's complement: the same tree on Baugh-Wooley rows."""

    family: ClassVar[str] = "wallace_signed"
    pattern: ClassVar[str] = "wallace"
    signed: ClassVar[bool] = True

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        return _add_rows(circuit, signed_partial_products(circuit, a, b), len(a) + len(b))


def _add_rows(circuit: NetlistBuilder, rows: list[Row], width: int) -> list[Net]:
    """The low ``width`` bits of the sum of rows aligned at bit 0."""
    rows = [row + [ZERO] * (width - len(row)) for row in rows]
    while len(rows) > 2:
        whole = len(rows) - len(rows) % 3
        saved = [row for i in range(0, whole, 3) for row in _carry_save(circuit, *rows[i : i + 3])]
        rows = saved + rows[whole:]
    return ripple_add(circuit, rows[0], rows[1] if len(rows) > 1 else [], width)


def _carry_save(circuit: NetlistBuilder, x: Row, y: Row, z: Row) -> tuple[Row, Row]:
    """Two rows with the sum of three; the carry out of the last column is dropped."""
    totals, carries = zip(*(circuit.full_add(*bits) for bits in zip(x, y, z, strict=True)), strict=True)
    return list(totals), [ZERO, *carries[:-1]]
