"""Power and area efficient approximate multipliers (Venkatachalam, Ko, IEEE TVLSI 25(5), 2017)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products
from multipliers.blocks.columns import (
    COUNTING_CELLS,
    Cells,
    add_columns,
    columns_of,
    count_columns,
    gate_cells,
    product_bits,
    table_cell,
    without_chain,
)
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, require

Bit = TypeVar("Bit")

HALF_ADDER_ERRORS = {0b11: 1}
FULL_ADDER_ERRORS = {0b011: -1, 0b111: -1}
COMPRESSOR_ERRORS = {0b0101: -1, 0b0110: -1, 0b1001: -1, 0b1010: -1, 0b1111: -1}
"""Errors by input pattern, first input in bit 0; the other patterns are exact."""

_ALTERED_HEIGHT = 4
_GENERATES_PER_OR = 4


@dataclass(frozen=True)
class VenkatachalamKo(Family):
    """Altered partial products, added by approximate adders and compressors in the low columns.

    In approximate columns of at least four terms, a_j b_i and a_i b_j (i != j, where both exist) become their OR
    (propagate) and their AND (generate); up to four generates are ORed into one. The cells of those columns are

        half adder: sum x1 + x2, carry x1 x2; full adder: sum (x1 + x2) xor x3, carry (x1 + x2) x3;
        4:2 compressor: sum (x1 xor x2) + (x3 xor x4) + x1 x2 x3 x4, carry x1 x2 + x3 x4.

    The paper's Multiplier 1 has all columns approximate, Multiplier 2 the width_b - 1 lowest. The order of the bits
    in the tree is reconstructed: at 16 bits the mean relative errors are 7.2 % and 0.02 %, the paper's abstract
    gives 7.6 % and 0.02 %. A carry beyond width_a + width_b bits is dropped; at 2..8 bits no operands give one.

    Attributes:
        columns: least significant columns that are approximate; width_a + width_b for all.
    """

    columns: int
    family: ClassVar[str] = "venkatachalam_ko"
    pattern: ClassVar[str] = r"vk_c(?P<columns>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        width = width_a + width_b
        require(min(width_a, width_b) >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")
        require(0 <= self.columns <= width, self.suffix, f"0..{width} columns for {width_a} x {width_b}", self.columns)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        columns = columns_of(partial_products(circuit, a, b), len(a) + len(b))
        exact = gate_cells(circuit).with_exact_compressor()
        cells = [_gates(circuit) if k < self.columns else exact for k in range(len(columns))]
        return add_columns(circuit, self._altered(columns, len(a), circuit.or2, circuit.and2), cells)

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        columns = product_bits(a, b, width_a, width_b)
        approximate = Cells(
            table_cell(HALF_ADDER_ERRORS), table_cell(FULL_ADDER_ERRORS), without_chain(table_cell(COMPRESSOR_ERRORS))
        )
        exact = COUNTING_CELLS.with_exact_compressor()
        cells = [approximate if k < self.columns else exact for k in range(len(columns))]
        return count_columns(self._altered(columns, width_a, np.maximum, np.multiply), cells)

    def _altered(
        self, columns: list[list[Bit]], width_a: int, either: Callable[[Any, Any], Bit], both: Callable[[Any, Any], Bit]
    ) -> list[list[Bit]]:
        """The columns of terms a_(k-i) b_i, in order of i, with propagates, unpaired terms and ORed generates."""
        altered = list(columns)
        for k, terms in enumerate(columns[: self.columns]):
            if len(terms) < _ALTERED_HEIGHT:
                continue
            rows = dict(enumerate(terms, start=max(0, k - width_a + 1)))
            pairs = [(term, rows[k - i]) for i, term in rows.items() if 2 * i < k and k - i in rows]
            unpaired = [term for i, term in rows.items() if 2 * i == k or k - i not in rows]
            generates = [both(*pair) for pair in pairs]
            groups = [generates[g : g + _GENERATES_PER_OR] for g in range(0, len(generates), _GENERATES_PER_OR)]
            altered[k] = [either(*pair) for pair in pairs] + unpaired + [functools.reduce(either, g) for g in groups]
        return altered


def _gates(circuit: NetlistBuilder) -> Cells[Net]:
    def half_add(x: Net, y: Net) -> tuple[Net, Net]:
        return circuit.or2(x, y), circuit.and2(x, y)

    def full_add(x: Net, y: Net, z: Net) -> tuple[Net, Net]:
        return circuit.half_add(circuit.or2(x, y), z)

    def compress(x1: Net, x2: Net, x3: Net, x4: Net) -> tuple[Net, Net]:
        (odd, pair), (other_odd, other_pair) = circuit.half_add(x1, x2), circuit.half_add(x3, x4)
        total = circuit.any_of((odd, other_odd, circuit.and2(pair, other_pair)))
        return total, circuit.or2(pair, other_pair)

    return Cells(half_add, full_add, without_chain(compress))
