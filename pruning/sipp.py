"""SiPP: single weights by their empirical sensitivity, with a bound on what each output loses. Unstructured.

Baykal, Liebenwein, Gilitschenski, Feldman, Rus, "SiPPing Neural Networks: Sensitivity-informed Provable Pruning of
Neural Networks", arXiv 1910.05422, SIAM J. Math. Data Sci. 4(1), 2022 (papers: structured_pruning §2).

The positive and the negative weights of an output are one row each, as each has a sum of its own. Keeping x weights of
a row at random costs it, with S = α Σ_k s_k / 3 (α as in `sensitivity.log_factor`), at most

    ε(x) = (S/x + √((S/x)² + 6 S/x)) / 2,

and keeping its x largest at most 3 Σ s_k over the others. "rand" shares the budget B out so that Σ_f ε_f(x_f) / η_f is
least, η_f the number of outputs of the row's layer. The reference code solves this for real x with a convex solver and
rounds up. For whole x it is solved exactly by taking weights one by one where they gain most: ε is convex, so the
r-th weight of a row gains ε(r−1) − ε(r), less than the one before, and the B largest gains of the network are a
prefix of every row. Sharing out a budget is thus the same sort as "det" does with the sensitivities themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, fx, nn

from pruning.criteria.base import Batches
from pruning.patches import layer_patches, parameter_layers, taps, weight_of_rows, weight_rows
from pruning.sensitivity import largest_shares, log_factor, mean_shares, sample_size
from pruning.trace import Inputs, Trace, as_inputs, tensors_of, trace

Variant = Literal["det", "rand", "hybrid"]

Measured = tuple[fx.Node, Tensor, int]
"""The first layer that uses a weight, its sensitivities in its own shape (float64), and P, positions of the layer."""

FAILURE = 1e-16
"""δ of the paper's experiments."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """A network with weights set to zero.

    Attributes:
        model: a copy of the user's network.
        masks: weight -> True where it was kept, bool, of the weight's shape.
        dense: other parameters with two axes or more, which are as they were.
    """

    model: nn.Module
    masks: Mapping[str, Tensor]
    dense: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """Every weight of every layer, in one line: what the choice between them needs.

    Attributes:
        sensitivity: s, float64 [n].
        row: number of the row a weight belongs to, of one output and one sign: int64 [n].
        factor: α of each row: float64 [rows].
        outputs: η, outputs of the layer of each row: float64 [rows].
    """

    sensitivity: Tensor
    row: Tensor
    factor: Tensor
    outputs: Tensor

    def bounds(self, row: Tensor, count: Tensor) -> Tensor:
        """ε of some rows when they keep `count` weights at random, infinite for none: float64 [m]."""
        total = torch.zeros_like(self.factor).index_add_(0, self.row, self.sensitivity)
        ratio = total[row] * self.factor[row] / 3 / count
        return torch.where(total[row] > 0, (ratio + (ratio**2 + 6 * ratio).sqrt()) / 2, 0.0)


def sipp(
    model: nn.Module,
    example_input: Tensor | Inputs,
    loader: Batches,
    *,
    keep: float = 0.5,
    variant: Variant = "det",
    examples: int | None = None,
    seed: int = 0,
) -> Sparse:
    """Set the weights to zero that a network's sums need least; biases are left alone.

    Weights of convolutions, linear layers and products with a parameter take part; every other parameter is kept and
    named in the result. Exactly the rounded share of those weights is kept.

    Args:
        model: the network; a copy is changed.
        example_input: a tensor [N, ...] or a tuple of them.
        loader: pairs (inputs, targets); the targets are not used.
        keep: share of the weights to keep, in (0, 1].
        variant: "det", the largest mean shares of the whole network. "rand", a number per row by the bound above,
            drawn in proportion to the largest shares; kept weights grow so that every sum keeps its expectation.
            "hybrid", as "rand", but a row keeps its largest unchanged where that has the smaller bound.
        examples: most examples used, the first of the data; None for the paper's number.
        seed: of the draws.

    Raises:
        ValueError: an option out of range, a network that cannot be exported or has no such layer, or data that is
            missing or does not fit.
    """
    _check(keep, variant, examples, seed)
    traced = trace(model, as_inputs(example_input))
    layers = parameter_layers(traced)
    if not layers:
        raise ValueError(f"sipp: {type(model).__name__} has no convolution, linear layer or product with a parameter")
    limit = examples or sample_size(layers, FAILURE)
    tensors = tensors_of(traced.model)
    measured = _measure(traced, layers, loader, limit, variant)
    weights = _in_line(tensors, measured)
    scale = choose(weights, round(keep * len(weights.row)), variant, seed)
    result = copy.deepcopy(model)
    masks, own = {}, tensors_of(result)
    parts = scale.split([tensors[name].numel() for name in measured])
    for (name, (layer, _, _)), part in zip(measured.items(), parts, strict=True):
        weight = own[name]
        factor = weight_of_rows(layer, part.reshape(weight_rows(layer, weight).shape), weight.shape).to(weight.device)
        masks[name] = factor > 0
        weight.data = torch.where(masks[name], weight.data * factor, 0.0).to(weight.dtype)
    changed = {id(own[name]) for name in masks}
    dense = tuple(name for name, value in result.named_parameters() if value.ndim > 1 and id(value) not in changed)
    return Sparse(result, masks, dense)


def choose(weights: Weights, budget: int, variant: Variant, seed: int) -> Tensor:
    """What each weight is multiplied with, zero for those that go: float64 [n], `budget` of them positive.

    A row's draws are one race: weight k arrives at a time with rate s_k, so that the order of arrival is that of
    drawing without repetition. Given the time τ of the first one left out, a weight is in with probability
    1 − exp(−s_k τ), whose inverse it is multiplied with: every expectation is exact for a fixed number of weights
    (Cohen, Kaplan, "Summarizing data using bottom-k sketches", PODC 2007). The paper draws with repetition and
    multiplies by (times drawn) / (m p_k), which meets a number of weights in expectation only.
    """
    s, row = weights.sensitivity, weights.row
    if variant == "det":
        kept = torch.zeros_like(s)
        kept[torch.argsort(s, descending=True, stable=True)[:budget]] = 1
        return kept
    counts = shares_of_budget(weights, budget)
    arrival = torch.empty_like(s).exponential_(generator=torch.Generator().manual_seed(seed)) / s
    drawn = _first(row, arrival, counts)
    late = torch.where(drawn, torch.inf, arrival)
    limit = torch.full_like(weights.factor, torch.inf).scatter_reduce(0, row, late, "amin")
    inverse = torch.where((s > 0) & drawn, -1 / torch.expm1(-s * limit[row]), 1.0)
    random = drawn * inverse
    if variant == "rand":
        return random
    largest = _first(row, -s, counts)
    lost = torch.zeros_like(weights.factor).index_add_(0, row, s * ~largest)
    sure = 3 * lost <= weights.bounds(torch.arange(len(lost)), counts)
    return torch.where(sure[row], largest.double(), random)


def shares_of_budget(weights: Weights, budget: int) -> Tensor:
    """Weights each row keeps, with sum `budget`, so that Σ_f ε_f(x_f) / η_f is least: int64 [rows].

    The first of a row comes before all that are not, where its bound is largest; weights of no sensitivity come last.
    """
    rows = len(weights.factor)
    row = weights.row.sort().values
    place = _places(row)
    before, after = (weights.bounds(row, number) / weights.outputs[row] for number in (place, place + 1))
    gain = torch.where(place > 0, before - after, 0.0)
    gain = torch.where(place > 0, gain, gain.max() + after)
    usable = torch.bincount(weights.row[weights.sensitivity > 0], minlength=rows)
    chosen = torch.argsort(torch.where(place < usable[row], gain, 0.0), descending=True, stable=True)[:budget]
    return torch.bincount(row[chosen], minlength=rows)


def _first(row: Tensor, key: Tensor, counts: Tensor) -> Tensor:
    """The entries of each row with its `counts` smallest keys: bool, shaped like `row`."""
    order = torch.argsort(key, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    kept = torch.zeros_like(row, dtype=torch.bool)
    kept[order] = _places(row[order]) < counts[row[order]]
    return kept


def _places(row: Tensor) -> Tensor:
    """Place of each entry within its run of equal values, from 0."""
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(row).cumsum(0)[:-1]])
    return torch.arange(len(row)) - starts[row]


def _measure(
    traced: Trace, layers: Mapping[fx.Node, str], loader: Batches, examples: int, variant: Variant
) -> dict[str, Measured]:
    """Sensitivities by weight; one that several layers or names share has the largest of all."""
    tensors, found = tensors_of(traced.model), dict[str, Measured]()
    names = {id(tensor): name for name, tensor in reversed(tensors.items())}  # the first of each
    for layer, weight in layers.items():
        name = names[id(tensors[weight])]
        found.setdefault(name, (layer, torch.zeros_like(tensors[name], dtype=torch.float64), 1))
    shares = mean_shares if variant == "det" else largest_shares
    for layer, patches in layer_patches(traced, layers, loader, examples, "sipp"):
        name = names[id(tensors[layers[layer]])]
        first, sensitivity, positions = found[name]
        rows = weight_rows(layer, tensors[name].detach().double())
        new = weight_of_rows(layer, shares(rows, patches), sensitivity.shape)
        found[name] = (first, torch.maximum(sensitivity, new), max(positions, patches.shape[-1]))
    return found


def _in_line(tensors: Mapping[str, Tensor], measured: Mapping[str, Measured]) -> Weights:
    """All weights in one line, on the CPU; rows 2 i and 2 i + 1 are the positive and the negative ones of output i."""
    sensitivities, rows, factors, outputs, first = [], [], [], [], 0
    for name, (layer, sensitivity, positions) in measured.items():
        values = weight_rows(layer, tensors[name].detach()).flatten(0, 1)
        count = len(values)
        rows.append((first + 2 * torch.arange(count)[:, None] + (values < 0).cpu()).flatten())
        sensitivities.append(weight_rows(layer, sensitivity).flatten().cpu())
        factors.append(torch.full((2 * count,), log_factor(positions, taps(layer), FAILURE), dtype=torch.float64))
        outputs.append(torch.full((2 * count,), float(count), dtype=torch.float64))
        first += 2 * count
    return Weights(*(torch.cat(parts) for parts in (sensitivities, rows, factors, outputs)))


def _check(keep: float, variant: str, examples: int | None, seed: int) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"sipp, keep: expected the share of weights to keep, in (0, 1], got {keep!r}")
    if variant not in ("det", "rand", "hybrid"):
        raise ValueError(f"sipp, variant: expected det, rand or hybrid, got {variant!r}")
    for option, value, least in (("examples", examples, 1), ("seed", seed, 0)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ValueError(f"sipp, {option}: expected an integer >= {least}, got {value!r}")
