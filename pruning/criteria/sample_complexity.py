"""How many channels of a layer an error ε asks for, turned round: at which ε each channel is given up.

Liebenwein, Baykal, Lang, Feldman, Rus, "Provable Filter Pruning for Efficient Neural Networks", ICLR 2020,
arXiv 1911.07412. A relative error ε needs m(ε) = ⌈3 (6 + 2ε) S̃ / ε²⌉ draws of channels with probabilities p, and
U(ε) = ⌈Σ_j 1 − (1 − p_j)^m(ε)⌉ different channels are expected among them. The paper searches for the one ε, common
to all layers, whose U(ε) meet the budget. As U falls with ε, channel number u of a layer stays exactly while ε is
below a threshold of its own, and these thresholds are comparable between layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 1e-9
"""Taken from an expected number before it is rounded up, as sums of probabilities are not exact."""


def fewest_draws(probabilities: Tensor) -> Tensor:
    """For u = 1, 2, ...: the fewest draws among which u different channels are expected, rounded up.

    Args:
        probabilities: float64 [C], with sum 1.

    Returns:
        Integers as float64, increasing, one per channel that can be drawn.
    """
    possible = probabilities[probabilities > 0]
    wanted = torch.arange(len(possible), dtype=torch.float64, device=possible.device) + SLACK
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    while bool((short := expected_unique(possible, high) <= wanted).any()):
        high = torch.where(short, 2 * high, high)
    while bool((between := (middle := ((low + high) / 2).floor()).gt(low) & middle.lt(high)).any()):
        short = expected_unique(possible, middle.clamp(min=1)) <= wanted
        low = torch.where(between & short, middle, low)
        high = torch.where(between & ~short, middle, high)
    return high


def expected_unique(probabilities: Tensor, draws: Tensor) -> Tensor:
    """Expected number of different channels among some draws: float64, shaped like `draws`.

    Args:
        probabilities: float64 [C], none zero.
        draws: numbers of draws >= 1, float64 [...].
    """
    return -torch.expm1(draws[..., None] * torch.log1p(-probabilities)).sum(-1)


def thresholds(draws: Tensor, complexity: float) -> Tensor:
    """The ε above which m(ε) falls below a number of draws: float64, shaped like `draws`.

    m(ε) >= d is 3 (6 + 2ε) S̃ / ε² > d − 1, and the left side falls with ε: the positive root of a quadratic. One
    draw is always made; it gets the threshold of half a draw, above all others of its layer.

    Args:
        draws: integers >= 1.
        complexity: S̃ = α Σ_j s_j.
    """
    more = (draws - 1).clamp(min=0.5)
    return (3 * complexity + (9 * complexity**2 + 18 * complexity * more).sqrt()) / more
