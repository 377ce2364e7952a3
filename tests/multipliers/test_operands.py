"""Ranges and bit patterns of operands, at the edges of every width."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipliers.operands import operand_patterns, operand_range, operand_values


@given(st.integers(1, 63), st.booleans())
def test_a_range_holds_every_pattern_and_no_more(width: int, signed: bool) -> None:
    low, high = operand_range(width, signed)
    assert high - low + 1 == 1 << width and (low < 0) == signed
    edges = np.array([low, high], dtype=np.int64)
    found = operand_patterns("operand a", edges, width, signed)
    assert found.dtype == np.int64 and found.tolist() == [low % (1 << width), high]
    for outside in (low - 1, high + 1):
        if -(1 << 63) <= outside < 1 << 64:
            with pytest.raises(ValueError, match=rf"operand a must lie in {low}\.\.{high}, got {outside}\.\.{outside}"):
                operand_patterns("operand a", outside, width, signed)


@pytest.mark.parametrize("signed", [False, True])
def test_patterns_are_the_places_of_the_values(signed: bool) -> None:
    for width in range(1, 9):
        values = operand_values(width, signed)
        assert (values.min(), values.max()) == operand_range(width, signed)
        assert operand_patterns("a", values, width, signed).tolist() == list(range(1 << width))


@pytest.mark.parametrize("values", [0.5, [True], ["1"], [None]])
def test_only_integers_are_operands(values: object) -> None:
    with pytest.raises(ValueError, match="b must be integers, got"):
        operand_patterns("b", values, 4, False)
