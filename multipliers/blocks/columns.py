"""Column compression: adds bits of any weights with half adders, full adders and 4:2 compressors.

The schedule is Dadda's (Dadda, Alta Frequenza 34, 1965): in every stage each column is brought down to the next
lower height of the sequence, carries of the stage included, with as few cells as will do. It is written once for
any kind of bit: nets of a circuit, or numpy arrays of 0 and 1 on which a cell is stated as arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import ProductGates, partial_products, ripple_add
from multipliers.builder import Net
from multipliers.netlist import ZERO

Bit = TypeVar("Bit")
Compressor = Callable[[Sequence[Bit], Bit | None], tuple[Bit, Bit | None, Bit | None]]
"""4:2 compressor: (four bits, chain bit of the column below) -> (sum, carry, chain bit for the column above).

Carry and chain weigh twice the sum. None stands for a bit that is absent.
"""


@dataclass(frozen=True)
class Cells(Generic[Bit]):
    """The adding cells of a column.

    Attributes:
        half_add: (sum, carry) of two bits.
        full_add: (sum, carry) of three bits.
        compress: 4:2 compressor; None where only adders are used.
    """

    half_add: Callable[[Bit, Bit], tuple[Bit, Bit]]
    full_add: Callable[[Bit, Bit, Bit], tuple[Bit, Bit]]
    compress: Compressor[Bit] | None = None

    def with_exact_compressor(self) -> Cells[Bit]:
        """These cells and the exact 4:2 compressor made of two of the adders."""

        def compress(bits: Sequence[Bit], chain: Bit | None) -> tuple[Bit, Bit | None, Bit | None]:
            partial, onward = self.full_add(bits[0], bits[1], bits[2])
            last = self.half_add(partial, bits[3]) if chain is None else self.full_add(partial, bits[3], chain)
            return *last, onward

        return Cells(self.half_add, self.full_add, compress)


def without_chain(add: Callable[[Bit, Bit, Bit, Bit], tuple[Bit, Bit]]) -> Compressor[Bit]:
    """A 4:2 compressor that neither takes nor gives a chain bit, from the (sum, carry) of its four bits."""

    def compress(bits: Sequence[Bit], chain: Bit | None) -> tuple[Bit, Bit | None, Bit | None]:
        if chain is not None:
            raise ValueError(
                "column compression: expected no chain bit for a compressor that has no input for it, got one from "
                "the column below; put the columns of such compressors below those of chained ones"
            )
        return *add(bits[0], bits[1], bits[2], bits[3]), None

    return compress


def gate_cells(circuit: ProductGates) -> Cells[Net]:
    """The exact adders as gates."""
    return Cells(circuit.half_add, circuit.full_add)


def table_cell(errors: Mapping[int, int]) -> Callable[..., Any]:
    """An adder of 0/1 arrays stated as arithmetic: the count of its ones plus an error.

    Args:
        errors: input pattern (first input in bit 0) -> error; patterns left out are exact.

    Returns:
        function of the input bits giving (value & 1, value >> 1).
    """

    def add(*bits: Int64Array) -> tuple[Int64Array, Int64Array]:
        table = np.array([pattern.bit_count() + errors.get(pattern, 0) for pattern in range(1 << len(bits))])
        pattern = np.zeros(np.broadcast(*bits).shape, dtype=np.int64)
        for position, bit in enumerate(bits):
            pattern = pattern + (bit << position)
        value = table[pattern]
        return value & 1, value >> 1

    return add


COUNTING_CELLS: Cells[Int64Array] = Cells(table_cell({}), table_cell({}))
"""The exact adders on arrays of 0 and 1: they count."""


def product_bits(a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> list[list[Int64Array]]:
    """The terms a_j b_i of unsigned operands as 0/1 arrays, by weight i + j; [width_a + width_b] lists."""
    columns: list[list[Int64Array]] = [[] for _ in range(width_a + width_b)]
    for i in range(width_b):
        for j in range(width_a):
            columns[i + j].append(((a >> j) & 1) * ((b >> i) & 1))
    return columns


def columns_of(rows: Sequence[Sequence[Net]], width: int) -> list[list[Net]]:
    """The nets of aligned rows by weight, constant zeros left out; [width] lists, bits beyond dropped."""
    return [[row[k] for row in rows if k < len(row) and row[k] != ZERO] for k in range(width)]


def reduce_columns(columns: Sequence[Sequence[Bit]], cells: Sequence[Cells[Bit]]) -> list[list[Bit]]:
    """Compress columns of bits to at most two bits each.

    Args:
        columns: bits by weight 2^k, k = 0 first; carries out of the last column are dropped.
        cells: the cells of each column.

    Returns:
        columns of the same total (modulo 2^len(columns)) if the cells are exact.
    """
    doubling = any(column_cells.compress for column_cells in cells)
    heights = [2]
    while heights[-1] < max(map(len, columns)):
        heights.append(heights[-1] * 2 if doubling else heights[-1] * 3 // 2)
    current = [list(column) for column in columns]
    for height in heights[-2::-1]:
        current = _reduce_stage(current, height, cells)
    return current


def add_columns(circuit: ProductGates, columns: Sequence[Sequence[Net]], cells: Sequence[Cells[Net]]) -> list[Net]:
    """Compress columns of nets and add the two rows left by a ripple-carry adder; the sum, len(columns) bits."""
    two_rows = [[*column, ZERO, ZERO] for column in reduce_columns(columns, cells)]
    return ripple_add(circuit, [bits[0] for bits in two_rows], [bits[1] for bits in two_rows], len(columns))


def sum_columns(circuit: ProductGates, rows: Sequence[Sequence[Net]], width: int) -> list[Net]:
    """The low ``width`` bits of the exact sum of aligned rows, by a Dadda tree of full and half adders."""
    return add_columns(circuit, columns_of(rows, width), [gate_cells(circuit)] * width)


def multiply_exactly(circuit: ProductGates, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
    """Exact unsigned product, len(a) + len(b) bits, by a Dadda tree."""
    return sum_columns(circuit, partial_products(circuit, a, b), len(a) + len(b))


def count_columns(columns: Sequence[Sequence[Int64Array]], cells: Sequence[Cells[Int64Array]]) -> Int64Array:
    """Value of columns of 0/1 arrays after compression, modulo 2^len(columns)."""
    total: Int64Array = np.zeros((), dtype=np.int64)
    for weight, column in enumerate(reduce_columns(columns, cells)):
        for bit in column:
            total = total + (bit << weight)
    return total & ((1 << len(columns)) - 1)


def _reduce_stage(columns: Sequence[list[Bit]], height: int, cells: Sequence[Cells[Bit]]) -> list[list[Bit]]:
    reduced: list[list[Bit]] = []
    carries: list[Bit] = []
    chain: list[Bit] = []
    for bits, column_cells in zip(columns, cells, strict=True):
        kept, carries, chain = _reduce_column(bits + carries, chain, height, column_cells)
        reduced.append(kept)
    return reduced


def _reduce_column(
    bits: list[Bit], chain: list[Bit], height: int, cells: Cells[Bit]
) -> tuple[list[Bit], list[Bit], list[Bit]]:
    """(bits kept, carries, chain bits) of a column: bits used first come first, results go last."""
    carries: list[Bit | None] = []
    onward: list[Bit | None] = []
    while (excess := len(bits) + len(chain) - height) > 0:
        if excess >= 3 and len(bits) >= 4 and cells.compress is not None:
            total, carry, link = cells.compress(bits[:4], chain.pop(0) if chain else None)
            bits = [*bits[4:], total]
            onward.append(link)
        elif excess >= 2:
            bits, chain = bits + chain, []
            total, carry = cells.full_add(bits[0], bits[1], bits[2])
            bits = [*bits[3:], total]
        else:
            bits, chain = bits + chain, []
            total, carry = cells.half_add(bits[0], bits[1])
            bits = [*bits[2:], total]
        carries.append(carry)
    return bits + chain, [c for c in carries if c is not None], [c for c in onward if c is not None]
