"""Mutual information of two real variables, estimated from samples, in nats."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

BINS = 32
"""Bins of a histogram per variable, of equal width from the smallest sample to the largest."""

LARGEST_CORRELATION = 1 - 1e-6
"""Most that ρ² counts, as a variable that determines another shares infinitely much with it: at most 6.9 nats."""

CONSTANT = 1e-12
"""A variable whose standard deviation is below this share of its root mean square is a constant."""


def gaussian_information(first: Tensor, second: Tensor) -> Tensor:
    """−½ ln(1 − ρ²) with the sample correlation ρ: exact for jointly Gaussian variables.

    Args:
        first: float64 [pairs..., rows, samples].
        second: float64 [rows, samples]; row r goes with row r of `first`.

    Returns:
        float64 [pairs..., rows], >= 0; exactly zero where either is constant.
    """
    x, y = (v - v.mean(-1, keepdim=True) for v in (first, second))
    spread = x.square().mean(-1) * y.square().mean(-1)
    squared = (x * y).mean(-1).square() / torch.where(spread > 0, spread, 1)
    information = -torch.log1p(-squared.clamp(max=LARGEST_CORRELATION)) / 2
    return torch.where(_constant(first) | _constant(second), 0, information)


def histogram_information(first: Tensor, second: Tensor) -> Tensor:
    """H(x) + H(y) − H(x, y) of histograms, each entropy + (occupied bins − 1) / (2 samples) (Miller and Madow, 1955).

    Arguments and result as of `gaussian_information`; an estimate below zero counts as zero.
    """
    cells = _bins(first) * BINS + _bins(second)
    row = torch.arange(cells[..., 0].numel(), device=cells.device).reshape(*cells.shape[:-1], 1)
    counts = torch.bincount((row * BINS**2 + cells).flatten(), minlength=row.numel() * BINS**2)
    joint = counts.reshape(*cells.shape[:-1], BINS, BINS).double()
    information = _entropy(joint.sum(-1)) + _entropy(joint.sum(-2)) - _entropy(joint.flatten(-2))
    return torch.where(_constant(first) | _constant(second), 0, information.clamp(min=0))


def numbers_per_pair(estimator: str, samples: int) -> int:
    """Numbers an estimator holds for one pair of variables."""
    return samples if estimator == "gaussian" else max(samples, BINS**2)


def _constant(values: Tensor) -> Tensor:
    return values.std(-1, correction=0) <= CONSTANT * values.square().mean(-1).sqrt()


def _bins(values: Tensor) -> Tensor:
    """Bin of every sample; the largest sample belongs to the last bin."""
    low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    width = torch.where(high > low, high - low, 1)
    return ((values - low) / width * BINS).long().clamp(max=BINS - 1)


def _entropy(counts: Tensor) -> Tensor:
    """Of a histogram [..., bins], corrected: [...]."""
    total = counts.sum(-1, keepdim=True)
    share = counts / total
    return -torch.xlogy(share, share).sum(-1) + ((counts > 0).sum(-1) - 1) / (2 * total[..., 0])


ESTIMATORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gaussian": gaussian_information,
    "histogram": histogram_information,
}
