"""Building blocks of multiplier netlists: adders, leading-one detection, shifting, sign handling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from multipliers.builder import Net, NetlistBuilder
from multipliers.netlist import ONE, ZERO


class ProductGates(Protocol):
    """The gates of partial products and their sums: a ``NetlistBuilder`` has them, and the ``Logic`` of the readers."""

    def and2(self, x: Net, y: Net) -> Net:
        """x AND y."""

    def nand2(self, x: Net, y: Net) -> Net:
        """NOT (x AND y)."""

    def half_add(self, x: Net, y: Net) -> tuple[Net, Net]:
        """(sum, carry) of two bits."""

    def full_add(self, x: Net, y: Net, z: Net) -> tuple[Net, Net]:
        """(sum, carry) of three bits."""


def ripple_add(circuit: ProductGates, x: Sequence[Net], y: Sequence[Net], width: int, carry: Net = ZERO) -> list[Net]:
    """The low ``width`` bits of x + y + carry by a ripple-carry adder; short operands are zero-extended."""
    total = []
    for position in range(width):
        bits = [row[position] if position < len(row) else ZERO for row in (x, y)]
        bit, carry = circuit.full_add(bits[0], bits[1], carry)
        total.append(bit)
    return total


def sum_rows(circuit: ProductGates, rows: Sequence[Sequence[Net]], width: int) -> list[Net]:
    """The low ``width`` bits of the sum of rows aligned at bit 0: an array of ripple-carry adders.

    Constant zeros cost nothing (the builder folds them), so ragged and truncated rows are stated with zeros.
    """
    total: list[Net] = list(rows[0][:width]) + [ZERO] * (width - len(rows[0]))
    for row in rows[1:]:
        total = ripple_add(circuit, total, row, width)
    return total


def partial_products(
    circuit: ProductGates, a: Sequence[Net], b: Sequence[Net], *, first_column: int = 0, first_row: int = 0
) -> list[list[Net]]:
    """Rows a x b_i, aligned; terms a_j b_i are kept where i + j >= first_column and i >= first_row."""
    return [
        [ZERO] * i + [circuit.and2(x, y) if i + j >= first_column and i >= first_row else ZERO for j, x in enumerate(a)]
        for i, y in enumerate(b)
    ]


def signed_partial_products(
    circuit: ProductGates, a: Sequence[Net], b: Sequence[Net], *, first_column: int = 0
) -> list[list[Net]]:
    """Rows of a two's complement product (modified Baugh-Wooley), the constant row first.

    The terms with one sign bit are inverted and 2^(w_a - 1) + 2^(w_b - 1) + 2^(w_a + w_b - 1) is added;
    terms of the columns below ``first_column`` (at most min(w_a, w_b) - 1, so never a sign term) are left
    out.
    """
    top_a, top_b, width = len(a) - 1, len(b) - 1, len(a) + len(b)
    constant = (1 << top_a) + (1 << top_b) + (1 << (width - 1))
    rows = [[ONE if constant >> k & 1 else ZERO for k in range(width)]]
    for i, y in enumerate(b):
        row = [ZERO] * i
        for j, x in enumerate(a):
            one_sign = (j == top_a) != (i == top_b)
            term = circuit.nand2(x, y) if one_sign else circuit.and2(x, y)
            row.append(term if i + j >= first_column else ZERO)
        rows.append(row)
    return rows


def leading_one(circuit: NetlistBuilder, x: Sequence[Net], lowest: int = 0) -> tuple[list[Net], Net]:
    """One-hot position of the leading one among bits ``lowest`` and above.

    Returns:
        (one_hot, any): ``one_hot[i]`` is 1 if the leading one is at bit ``lowest + i``; ``any`` is 1 if
        there is one.
    """
    one_hot: list[Net] = []
    above = ZERO
    for bit in reversed(x[lowest:]):
        one_hot.append(circuit.and2(bit, circuit.inv(above)))
        above = circuit.or2(above, bit)
    return one_hot[::-1], above


def encode(circuit: NetlistBuilder, one_hot: Sequence[Net]) -> list[Net]:
    """Binary index of the 1 in a one-hot vector (0 if there is none), least significant bit first."""
    bits = max(1, (len(one_hot) - 1).bit_length())
    return [circuit.any_of(net for i, net in enumerate(one_hot) if i >> k & 1) for k in range(bits)]


def select(circuit: NetlistBuilder, one_hot: Sequence[Net], values: Sequence[Net]) -> Net:
    """The value whose selector is 1, 0 if none is: an AND-OR tree."""
    return circuit.any_of(circuit.and2(s, v) for s, v in zip(one_hot, values, strict=True))


def shift_left(circuit: NetlistBuilder, x: Sequence[Net], amount: Sequence[Net], width: int) -> list[Net]:
    """The low ``width`` bits of x << amount: a barrel shifter of multiplexers."""
    value = list(x)
    for power, bit in enumerate(amount):
        step = 1 << power
        length = min(width, len(value) + step)
        straight = value + [ZERO] * (length - len(value))
        shifted = [ZERO] * step + value
        value = [circuit.mux2(straight[i], shifted[i] if i < len(shifted) else ZERO, bit) for i in range(length)]
    return value + [ZERO] * (width - len(value))


def negate_if(circuit: NetlistBuilder, x: Sequence[Net], negative: Net) -> list[Net]:
    """x or, where ``negative`` is 1, its two's complement -x, same width."""
    flipped = [circuit.xor2(bit, negative) for bit in x]
    result, carry = [], negative
    for bit in flipped:
        total, carry = circuit.half_add(bit, carry)
        result.append(total)
    return result
