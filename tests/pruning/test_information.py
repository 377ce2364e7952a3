"""Estimators of mutual information: golden values, and plain references."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning.criteria.information import BINS, gaussian_information, histogram_information


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def grid(levels):
    """Every pair of levels once: independent, exactly."""
    x = torch.arange(levels).double()
    return x.repeat_interleave(levels), x.repeat(levels)


def test_histogram_of_few_levels():
    """x determines y: ln 4 + (4 + 4 - 4 - 1) / 2n; independent: 0 + (4 + 4 - 16 - 1) / 2n < 0 counts as zero."""
    x, y = grid(4)
    torch.testing.assert_close(histogram_information(x[None], (3 - 2 * x)[None]), double([math.log(4) + 3 / 32]))
    assert histogram_information(x[None], y[None]).tolist() == [0]
    assert gaussian_information(x[None], y[None]).tolist() == [0]


def reference(x, y):
    """Counted by numpy, entropies corrected one by one."""
    joint, _, _ = np.histogram2d(x, y, BINS)

    def entropy(counts):
        share = counts[counts > 0] / len(x)
        return -(share * np.log(share)).sum() + (len(share) - 1) / (2 * len(x))

    return max(0.0, entropy(joint.sum(1)) + entropy(joint.sum(0)) - entropy(joint.flatten()))


@settings(max_examples=40)
@given(seed=st.integers(0, 9999), samples=st.integers(2, 400), pairs=st.integers(1, 3), rows=st.integers(1, 3))
def test_against_plain_references(seed, samples, pairs, rows):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(pairs, rows, samples, generator=generator).double()
    second = first.sum(0) + torch.randn(rows, samples, generator=generator).double().relu()
    gaussian, histogram = gaussian_information(first, second), histogram_information(first, second)
    for pair in range(pairs):
        for row in range(rows):
            x, y = first[pair, row], second[row]
            rho = min(float(torch.corrcoef(torch.stack([x, y]))[0, 1]) ** 2, 1 - 1e-6)
            assert float(gaussian[pair, row]) == pytest.approx(-math.log(1 - rho) / 2, rel=1e-6, abs=1e-12)
            assert float(histogram[pair, row]) == pytest.approx(reference(x.numpy(), y.numpy()), abs=1e-9)


@pytest.mark.parametrize("estimate", [gaussian_information, histogram_information])
def test_constants_and_full_dependence(estimate):
    x = torch.randn(1, 500, generator=torch.Generator().manual_seed(0)).double()
    for constant in (0.0, 0.1, -1e6):
        level = torch.full_like(x, constant)
        assert estimate(level, x).item() == 0 and estimate(x, level).item() == 0 and estimate(level, level).item() == 0
    assert estimate(1e-9 * x, x).item() > 2.5
    assert estimate(x, x).item() <= 7 and bool(torch.isnan(gaussian_information(x * torch.nan, x)))
    torch.testing.assert_close(estimate(x, x.abs()), estimate(-3 * x + 5, x.abs()), rtol=0, atol=0.02)
    if estimate is histogram_information:
        assert estimate(x, x.square()).item() > 1 > 0.1 > gaussian_information(x, x.square()).item()
