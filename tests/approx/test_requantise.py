"""Fixed-point requantisation against Python's own integers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from approx.requantise import fixed_point, fixed_point_sum, requantise


@given(st.floats(2.0**-30, 2.0**29))
def test_factor_has_31_significant_bits(factor: float) -> None:
    (multiplier,), (shift,) = fixed_point(np.array([factor]))
    assert 2**30 <= multiplier < 2**31 and 1 <= shift <= 62
    assert abs(multiplier / 2.0**shift - factor) <= factor * 2.0**-31


def test_extreme_factors() -> None:
    multiplier, shift = fixed_point(np.array([0.0, 1e-40, 2.0**-33, 1.0 - 2.0**-40]))
    assert multiplier[0] == 0 and multiplier[1] == 0 and shift.min() >= 1 and shift.max() <= 62
    assert multiplier[3] / 2.0 ** shift[3] == 1.0
    with pytest.raises(ValueError, match="finite"):
        fixed_point(np.array([np.nan]))


@given(st.integers(-(2**31), 2**31 - 1), st.floats(2.0**-30, 2.0**10), st.integers(0, 255))
def test_requantise_is_the_formula(accumulator: int, factor: float, zero: int) -> None:
    multiplier, shift = (torch.from_numpy(v).to(torch.int64) for v in fixed_point(np.array([factor])))
    got = requantise(torch.tensor([[accumulator]], dtype=torch.int32), multiplier, shift, zero, (0, 255))
    m, s = int(multiplier), int(shift)
    assert int(got) == min(255, max(0, zero + ((accumulator * m + (1 << (s - 1))) >> s)))


@given(st.floats(1e-6, 1e4), st.floats(1e-6, 1e4))
def test_terms_of_a_sum_fit_32_bits(a: float, b: float) -> None:
    multipliers, shift = fixed_point_sum((a, b))
    assert max(multipliers) < 2**21 and shift >= 1
    assert 255 * sum(multipliers) + (1 << (shift - 1)) < 2**31
    assert abs(multipliers[0] / 2.0**shift - a) <= max(max(a, b) * 2.0**-20, 2.0**-31)
