"""What a pruned network costs, as a function of how many units each group keeps."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pruning.groups import Grouping
from pruning.trace import Inputs, as_inputs, preserved_rng

Cost = Callable[[Mapping[str, int]], float]
"""Units kept per group -> cost; must not grow when fewer units are kept."""


@dataclass(frozen=True)
class Budget:
    """A limit on a cost.

    For several limits at once, take the largest share: with `macs` and `size` costs and `m` and `s` their limits,
    `Budget(lambda kept: max(macs(kept) / m, size(kept) / s), 1.0, "of the tighter limit")`.

    Attributes:
        cost: units kept per group -> cost.
        limit: the largest cost allowed, in the cost's own unit.
        unit: what to call that unit in messages.
    """

    cost: Cost
    limit: float
    unit: str = "MACs"

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int | float) or math.isnan(self.limit):
            raise ValueError(f"budget, limit: expected a number of {self.unit}, got {self.limit!r}")

    def __call__(self, kept: Mapping[str, int]) -> float:
        """The cost.

        Raises:
            ValueError: it is not a finite number.
        """
        cost = float(self.cost(kept))
        if not math.isfinite(cost):
            raise ValueError(f"budget: the cost in {self.unit} is {cost} when groups keep {dict(kept)}")
        return cost


@dataclass(frozen=True)
class AxisSize:
    """Size of an axis: `fixed` positions plus a number of positions per kept unit of some groups."""

    fixed: int
    per_unit: tuple[tuple[str, int], ...]

    def __call__(self, kept: Mapping[str, int]) -> int:
        return self.fixed + sum(count * kept[name] for name, count in self.per_unit)


@dataclass(frozen=True)
class ProductCost:
    """Sum of terms, each a factor times the sizes of axes: inputs and outputs of a layer shrink together."""

    terms: tuple[tuple[float, tuple[AxisSize, ...]], ...]
    constant: float = 0.0

    def __call__(self, kept: Mapping[str, int]) -> float:
        """Cost when group g keeps `kept[g]` units."""
        total = self.constant
        for factor, axes in self.terms:
            for axis in axes:
                factor *= axis(kept)
            total += factor
        return total


def full_counts(grouping: Grouping) -> dict[str, int]:
    """Group name -> number of units, before pruning."""
    return {group.name: group.size for group in grouping.groups}


def macs_cost(grouping: Grouping, macs: float) -> ProductCost:
    """Multiply-accumulates per example.

    Args:
        grouping: the network and its groups.
        macs: of the whole network (`count_macs`); what no term explains is kept as a constant.
    """
    owner = torch.tensor([i for i, group in enumerate(grouping.groups) for _ in range(group.size)] + [-1])
    terms = tuple(
        (term.factor, tuple(_axis_size(grouping, owner[units]) for units in term.axes)) for term in grouping.terms
    )
    explained = ProductCost(terms)(full_counts(grouping))
    return ProductCost(terms, macs - explained)


def _axis_size(grouping: Grouping, owners: Tensor) -> AxisSize:
    """Size of an axis whose positions belong to the given groups (-1 = fixed)."""
    found, counts = torch.unique(owners, return_counts=True)
    sizes = dict(zip(found.tolist(), counts.tolist(), strict=True))
    fixed = sizes.pop(-1, 0)
    groups = grouping.groups
    return AxisSize(fixed, tuple((groups[i].name, count // groups[i].size) for i, count in sizes.items()))


def parameter_cost(grouping: Grouping) -> ProductCost:
    """Number of parameters (buffers and unused tensors excluded; a tied parameter counts once)."""
    model = grouping.trace.model
    constant, terms = float(sum(p.numel() for p in model.parameters())), []
    named = dict(model.named_parameters(remove_duplicate=False))
    for name, axes in _shrinking(grouping).items():
        rest = math.prod(size for axis, size in enumerate(named[name].shape) if axis not in axes)
        terms.append((float(rest), tuple(axes.values())))
        constant -= named[name].numel()
    return ProductCost(tuple(terms), constant)


def parameter_shapes(grouping: Grouping) -> Callable[[Mapping[str, int]], dict[str, tuple[int, ...]]]:
    """The way from units kept to the channels of layers, for costs that are tables or models of single layers.

    Returns:
        A function: units kept per group -> parameter name -> its shape after such a cut. For a convolution, say,
        `shapes(kept)["conv.weight"][:2]` are its output channels and its input channels (of one of its groups).
    """
    whole = dict(grouping.trace.model.named_parameters(remove_duplicate=False))
    axes = {id(whole[name]): found for name, found in _shrinking(grouping).items()}  # tied ones have several names

    def shape(tensor: Tensor, kept: Mapping[str, int]) -> tuple[int, ...]:
        shrinking = axes.get(id(tensor), {})
        return tuple(shrinking[axis](kept) if axis in shrinking else size for axis, size in enumerate(tensor.shape))

    def shapes(kept: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        return {name: shape(tensor, kept) for name, tensor in whole.items()}

    return shapes


def _shrinking(grouping: Grouping) -> dict[str, dict[int, AxisSize]]:
    """Parameter -> axis -> its size, for every axis that shrinks with some group."""
    sizes = full_counts(grouping)
    named = dict(grouping.trace.model.named_parameters(remove_duplicate=False))
    owners: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for group in grouping.groups:
        for member in group.members:
            if member.tensor in named:
                owners.setdefault((member.tensor, member.axis), []).append((group.name, len(member.indices[0])))
    found: dict[str, dict[int, AxisSize]] = {}
    for (name, axis), per_unit in owners.items():
        fixed = named[name].shape[axis] - sum(count * sizes[group] for group, count in per_unit)
        found.setdefault(name, {})[axis] = AxisSize(fixed, tuple(per_unit))
    return found


def require_fraction(where: str, fraction: float) -> None:
    """Refuse what is not a fraction to keep.

    Raises:
        ValueError: it is no number in (0, 1].
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"{where}: expected the fraction to keep, a number in (0, 1], got {fraction!r}")


def parameter_budget(fraction: float) -> Callable[[Grouping], Budget]:
    """A budget that keeps a fraction of the network's parameters, for `prune(..., budget=...)`.

    Raises:
        ValueError: the fraction is not in (0, 1].
    """
    require_fraction("parameter_budget", fraction)

    def budget(grouping: Grouping) -> Budget:
        cost = parameter_cost(grouping)
        return Budget(cost, fraction * cost(full_counts(grouping)), "parameters")

    return budget


def count_macs(model: nn.Module, example_input: Tensor | Inputs) -> float:
    """Multiply-accumulates per example of a network, counted while it runs (evaluation mode, on a copy).

    Convolutions, matrix products and attention count; element-wise operations do not. Attention and
    recurrent layers run as plain products meanwhile, as the counter does not see into every fused kernel.
    """
    inputs = as_inputs(example_input)
    twin: Any = copy.deepcopy(model).eval()
    with preserved_rng(), torch.no_grad(), _plain_kernels(), FlopCounterMode(display=False) as counter:
        twin(*inputs)
    return counter.get_total_flops() / 2 / len(inputs[0])


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without the fused kernels of attention, of `nn.MultiheadAttention` and of oneDNN (recurrent layers)."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # setting oneDNN's flags talks about GPUs
            with torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
