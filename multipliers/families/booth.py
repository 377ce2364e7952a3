"""Radix-4 Booth multipliers (Booth, 1951; modified by MacSorley, Proceedings of the IRE 49(1), 1961)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.blocks.columns import sum_columns
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._exact_family import ExactFamily
from multipliers.netlist import ONE, ZERO


@dataclass(frozen=True)
class BoothSigned(ExactFamily):
    """Exact two's complement: rows d_i a 4^i with digits d_i = -2..2 of b, added by a Dadda tree."""

    family: ClassVar[str] = "booth_signed"
    pattern: ClassVar[str] = "booth"
    signed: ClassVar[bool] = True

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a) + len(b)
        return sum_columns(circuit, booth_rows(circuit, a, b, width), width)


@dataclass(frozen=True)
class Booth(ExactFamily):
    """Exact unsigned: the operands are extended by a zero, which costs a further row."""

    family: ClassVar[str] = "booth"
    pattern: ClassVar[str] = "booth"

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a) + len(b)
        return sum_columns(circuit, booth_rows(circuit, [*a, ZERO], [*b, ZERO], width), width)


def booth_rows(
    circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net], width: int, *, floored: int = 0
) -> list[list[Net]]:
    """Rows whose sum modulo 2^width is that of d_i a 4^i, each floored to a multiple of 2^floored.

    A negative row is stated as the inverted bits plus a carry of its own; when low bits are floored away, that
    carry survives only if all of them are zero. The sign bit s at weight p stands for -s 2^p = (1 - s) 2^p - 2^p;
    the constants -2^p of all rows are one further row.

    Args:
        a: two's complement operand.
        b: two's complement operand, recoded to digits.
        width: bits of the product.
        floored: at most len(a), so that every row keeps its sign bit.
    """
    rows: list[list[Net]] = []
    constant = 0
    extended = [ZERO, *a, a[-1]]
    for i in range(0, len(b), 2):
        below, high = b[i - 1] if i else ZERO, b[min(i + 1, len(b) - 1)]
        one = circuit.xor2(b[i], below)
        two = circuit.and2(circuit.xor2(high, b[i]), circuit.inv(one))
        magnitude = [
            circuit.or2(circuit.and2(one, single), circuit.and2(two, double))
            for single, double in zip(extended[1:], extended[:-1], strict=True)
        ]
        lowest = max(0, floored - i)
        carry = circuit.and2(high, circuit.inv(circuit.any_of(magnitude[:lowest])))
        *bits, sign = (circuit.xor2(bit, high) for bit in magnitude[lowest:])
        zeros = [ZERO] * (i + lowest)
        rows += [[*zeros, *bits, circuit.inv(sign)], [*zeros, carry]]
        constant -= 1 << (i + len(a))
    return [*rows, [ONE if constant >> k & 1 else ZERO for k in range(width)]]
