"""Empirical sensitivity: the largest share that a weight, or a channel, ever has in a sum that it takes part in.

Baykal, Liebenwein, Gilitschenski, Feldman, Rus, "SiPPing Neural Networks", arXiv 1910.05422, and Liebenwein,
Baykal, Lang, Feldman, Rus, "Provable Filter Pruning", ICLR 2020, arXiv 1911.07412 (papers: structured_pruning §2).

Output i at position p is z = z⁺ − z⁻, sums of the non-negative terms |w_ik| a_kp over the weights w_ik > 0 and those
< 0 (patches are non-negative, see `layer_patches`; biases are left out). A weight's share is its term divided by the
sum it is in, so that the shares of all weights of one output, position and sign add up to one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, fx

from pruning.layers import CONVOLUTIONS
from pruning.rules import operation
from pruning.rules.context import shape_of

VANISHING = torch.finfo(torch.float32).eps
"""Sums up to this are nothing to have a share in, as in the reference code."""

DECIMALS = 12
"""Shares are rounded to this, so that those that are equal (of 1, often) stay so whatever the order of sums."""


def largest_shares(rows: Tensor, patches: Tensor) -> Tensor:
    """s_ik: a weight's largest share over examples and positions: [G, O, K].

    Args:
        rows: weights, float64 [G, O, K].
        patches: non-negative, float64 [N, G, K, P].
    """
    plus, minus = _inverse_sums(rows, patches)
    found = torch.zeros_like(rows)
    for i in range(rows.shape[1]):  # one output at a time: N * G * K * P numbers, not O times that
        inverse = torch.where(rows[:, i, :, None] > 0, plus[:, :, i, None], minus[:, :, i, None])
        found[:, i] = (patches * inverse).amax((0, 3))
    return (found * rows.abs()).round(decimals=DECIMALS)


def mean_shares(rows: Tensor, patches: Tensor) -> Tensor:
    """A weight's mean share over positions, the largest of all examples: [G, O, K]; arguments as `largest_shares`."""
    if patches.shape[-1] == 1:
        return largest_shares(rows, patches)
    found = torch.zeros_like(rows)
    for patch in patches:  # one example at a time: G * O * K numbers
        plus, minus = (inverse[0] @ patch.mT for inverse in _inverse_sums(rows, patch[None]))
        found = torch.maximum(found, torch.where(rows > 0, plus, minus))
    return (found * rows.abs() / patches.shape[-1]).round(decimals=DECIMALS)


def largest_unit_shares(rows: Tensor, patches: Tensor, columns: Tensor, count: int) -> Tensor:
    """The largest share of a unit, all of whose terms in a sum count together, over everything: [count].

    Args:
        rows: weights, float64 [G, O, K].
        patches: non-negative, float64 [N, G, K, P].
        columns: unit of every column, -1 = none: int64 [G, K].
        count: number of units.
    """
    found = torch.zeros(count, dtype=rows.dtype, device=rows.device)
    units, local = torch.unique(columns, return_inverse=True)
    index = local[None, :, :, None].expand(patches.shape)
    together = patches.new_zeros(*patches.shape[:2], len(units), patches.shape[3])
    for sign, inverse in zip((1, -1), _inverse_sums(rows, patches), strict=True):
        for i, weights in enumerate((sign * rows).clamp(min=0).unbind(1)):
            terms = together.zero_().scatter_add_(2, index, weights[..., None] * patches)
            largest = (terms * inverse[:, :, i, None]).amax((0, 1, 3))
            found = largest_per_unit(largest, units, found)
    return found.round(decimals=DECIMALS)


def largest_per_unit(values: Tensor, units: Tensor, before: Tensor) -> Tensor:
    """The maximum of `before` [count] and of the values of each unit; -1 = none."""
    present = units >= 0
    return before.scatter_reduce(0, units[present], values[present], "amax")


def sample_size(layers: Iterable[fx.Node], failure: float) -> int:
    """|S| = ⌈3 ln(8 η* η / δ)⌉: examples that make the empirical sensitivity an upper bound with probability 1 − δ.

    η is the number of outputs of all layers, positions of convolutions counted, and η* that of the largest layer.

    Args:
        layers: the layers, convolutions and linear ones.
        failure: δ.
    """
    counts = []
    for layer in layers:
        shape = shape_of(layer.meta["val"])
        counts.append(math.prod(shape[1:]) if operation(layer) in CONVOLUTIONS else shape[-1])
    return math.ceil(3 * math.log(8 * max(counts) * sum(counts) / failure))


def log_factor(positions: int, taps: int, failure: float) -> float:
    """α = 2 · 3 · ln(8 (P + 1) k / δ): what sums of sensitivities are multiplied with in both papers' bounds."""
    return 6 * math.log(8 * (positions + 1) * taps / failure)


def _inverse_sums(rows: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """1 / z⁺ and 1 / z⁻, zero where there is nothing to share: [N, G, O, P]."""
    sums = (rows.clamp(min=0) @ patches, (-rows).clamp(min=0) @ patches)
    plus, minus = (torch.where(z > VANISHING, 1 / z, 0.0) for z in sums)
    return plus, minus
