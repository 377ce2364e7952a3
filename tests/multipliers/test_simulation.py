"""Packing, unpacking and counting of bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipliers.simulation import all_operand_pairs, integers, ones, pack, unpack


@given(st.lists(st.integers(-(2**40), 2**40), max_size=200), st.integers(1, 42))
def test_packed_bits_are_the_bits(values: list[int], width: int) -> None:
    words = pack(np.array(values, dtype=np.int64), width)
    assert words.shape == (width, max(1, -(-len(values) // 64))) and words.dtype == np.uint64
    for position in range(width):
        assert unpack(words[position], len(values)).tolist() == [value >> position & 1 for value in values]
    assert integers(list(words), len(values), False).tolist() == [value & ((1 << width) - 1) for value in values]
    signed = [(value & ((1 << width) - 1)) - ((value >> (width - 1) & 1) << width) for value in values]
    assert integers(list(words), len(values), True).tolist() == signed


@pytest.mark.parametrize("widths", [(1, 1), (2, 3), (6, 5), (3, 9), (9, 3)])
def test_operand_pairs_are_in_table_order(widths: tuple[int, int]) -> None:
    width_a, width_b = widths
    operands = all_operand_pairs(width_a, width_b)
    count = 1 << sum(widths)
    a = integers(list(operands[:width_a]), count, False)
    b = integers(list(operands[width_a:]), count, False)
    np.testing.assert_array_equal(a, np.arange(count) >> width_b)
    np.testing.assert_array_equal(b, np.arange(count) & ((1 << width_b) - 1))
    pieces = [all_operand_pairs(width_a, width_b, first, 3) for first in range(0, operands.shape[1], 3)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), operands)


@pytest.mark.parametrize("old_numpy", [False, True])
def test_ones_are_counted(old_numpy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old_numpy:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    values = np.random.default_rng(0).integers(0, 1 << 64, size=(5, 7), dtype=np.uint64)
    values[0], values[1] = 0, ~np.uint64(0)
    assert ones(values).tolist() == [sum(int(word).bit_count() for word in row) for row in values]
    assert ones(values).dtype == np.int64
