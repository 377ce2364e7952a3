"""Multiplier of approximate adders with configurable error recovery (Liu, Han, Lombardi, DATE 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products, ripple_add
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require
from multipliers.netlist import ZERO

Row = list[Net]


@dataclass(frozen=True)
class ApproximateAdderTree(Family):
    """Adds the rows pairwise with adders whose carries travel one bit; part of the error is added back.

    An adder gives S_i = (A_i ^ B_i) | A_(i-1) B_(i-1) and the error E_i = (A_i ^ B_i) A_(i-1) B_(i-1), and
    S + E = A + B. The errors of all adders are ORed, and the ``recovered`` most significant bits of the result
    are added to the sum, exactly. The product is never too large.

    Attributes:
        recovered: most significant bits of the error that are added back, n; 0 = none.
    """

    recovered: int
    family: ClassVar[str] = "approximate_adder_tree"
    pattern: ClassVar[str] = r"cr(?P<recovered>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        width = width_a + width_b
        require(min(width_a, width_b) >= 1, self.suffix, "widths >= 1", f"{width_a} x {width_b}")
        require(0 <= self.recovered <= width, self.suffix, f"0..{width} bits for {width_a} x {width_b}", self.recovered)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        width = len(a) + len(b)
        rows = [row + [ZERO] * (width - len(row)) for row in partial_products(circuit, a, b)]
        errors: list[Row] = []
        while len(rows) > 1:
            added = [_add(circuit, x, y) for x, y in zip(rows[::2], rows[1::2], strict=False)]
            rows = [total for total, _ in added] + rows[2 * len(added) :]
            errors += [error for _, error in added]
        least = width - self.recovered
        error = [circuit.any_of(row[k] for row in errors) if k >= least else ZERO for k in range(width)]
        return ripple_add(circuit, rows[0], error, width)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        rows = [a * ((b >> i) & 1) << i for i in range(width_b)]
        error = np.zeros((), dtype=np.int64)
        while len(rows) > 1:
            totals = []
            for x, y in zip(rows[::2], rows[1::2], strict=False):
                carries = (x & y) << 1
                totals.append((x ^ y) | carries)
                error = error | (x ^ y) & carries
            rows = totals + rows[2 * len(totals) :]
        least = width_a + width_b - self.recovered
        return rows[0] + (error >> least << least)


def _add(circuit: NetlistBuilder, x: Row, y: Row) -> tuple[Row, Row]:
    """(sum, error) of the approximate adder."""
    totals, errors, below = [], [], ZERO
    for bits in zip(x, y, strict=True):
        different, both = circuit.half_add(*bits)
        totals.append(circuit.or2(different, below))
        errors.append(circuit.and2(different, below))
        below = both
    return totals, errors
