"""Multipliers of approximate 4:2 compressors (Momeni, Han, Montuschi, Lombardi, IEEE TC 64(4), 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import partial_products
from multipliers.blocks.columns import (
    COUNTING_CELLS,
    Compressor,
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

ERRORS: Mapping[int, int] = MappingProxyType({0b0000: 1, 0b0011: -1, 0b1100: -1, 0b1111: -1})
"""Error of the compressor without chain bit, by its inputs x4 x3 x2 x1; the other patterns are exact."""

CHAINED_ERRORS: Mapping[int, int] = MappingProxyType(
    {
        **ERRORS,
        **{0b10000: 1, 0b10011: -1, 0b11100: -1, 0b11111: -1},
        **{0b10101: 1, 0b10110: 1, 0b11001: 1, 0b11010: 1},
    }
)
"""Error of design 1, by its inputs cin x4 x3 x2 x1."""


@dataclass(frozen=True)
class Momeni(Family):
    """Dadda tree with approximate 4:2 compressors in the least significant columns, exact ones above.

    Design 1: carry = cin, sum = not cin (x1 xnor x2 + x3 xnor x4), cout = (x1 + x2) (x3 + x4). Design 2 has no
    cin and cout: sum and carry are design 1's sum without cin and its cout. The paper uses either in all columns
    or in the lower half. Its figures of the tree are not at hand; the schedule of the tree is reconstructed, and
    with it which bits meet in which compressor, on which the error depends.

    A compressor of four zeros gives one, so zero times anything is not zero. A carry beyond width_a + width_b bits
    is dropped, in the gates and in the definition; at 2..8 bits no operands give one.

    Attributes:
        design: 1 or 2.
        columns: least significant columns with approximate compressors; width_a + width_b for all.
    """

    design: int
    columns: int
    family: ClassVar[str] = "momeni"
    pattern: ClassVar[str] = r"momeni(?P<design>[12])_c(?P<columns>\d+)"

    def check(self, width_a: int, width_b: int) -> None:
        width = width_a + width_b
        require(self.design in (1, 2), self.suffix, "design 1 or 2", self.design)
        require(min(width_a, width_b) >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")
        require(0 <= self.columns <= width, self.suffix, f"0..{width} columns for {width_a} x {width_b}", self.columns)

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        columns = columns_of(partial_products(circuit, a, b), len(a) + len(b))
        exact = gate_cells(circuit).with_exact_compressor()
        approximate = replace(exact, compress=_gates(circuit, chained=self.design == 1))
        return add_columns(circuit, columns, [approximate if k < self.columns else exact for k in range(len(columns))])

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        columns = product_bits(a, b, width_a, width_b)
        exact = COUNTING_CELLS.with_exact_compressor()
        compress = _chained_count if self.design == 1 else without_chain(table_cell(ERRORS))
        approximate = replace(exact, compress=compress)
        return count_columns(columns, [approximate if k < self.columns else exact for k in range(len(columns))])


def _gates(circuit: NetlistBuilder, *, chained: bool) -> Compressor[Net]:
    def add(x1: Net, x2: Net, x3: Net, x4: Net) -> tuple[Net, Net]:
        total = circuit.nand2(circuit.xor2(x1, x2), circuit.xor2(x3, x4))
        return total, circuit.and2(circuit.or2(x1, x2), circuit.or2(x3, x4))

    def compress(bits: Sequence[Net], cin: Net | None) -> tuple[Net, Net | None, Net | None]:
        total, cout = add(bits[0], bits[1], bits[2], bits[3])
        return (total if cin is None else circuit.and2(total, circuit.inv(cin))), cin, cout

    return compress if chained else without_chain(add)


def _chained_count(
    bits: Sequence[Int64Array], cin: Int64Array | None
) -> tuple[Int64Array, Int64Array | None, Int64Array | None]:
    """Design 1 as arithmetic: count of ones plus error = sum + 2 (carry + cout), where carry = cin."""
    if cin is None:
        total, cout = table_cell(ERRORS)(*bits)
        return total, None, cout
    total, twos = table_cell(CHAINED_ERRORS)(*bits, cin)
    return total, cin, twos - cin
