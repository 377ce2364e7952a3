"""The verb: `prune(model, example_input, macs=0.5)` cuts a network to a budget and proves the cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.cost import Budget, count_macs, count_parameters, full_counts, macs_cost, require_fraction
from pruning.criteria.base import Batches, Criterion, Loss, checked_scores
from pruning.criteria.registry import criterion as criterion_by_name
from pruning.groups import Frozen, Grouping
from pruning.isomorphism import structure_classes
from pruning.plan import Plan
from pruning.preconditions import require_data_where_it_belongs, require_sound_network
from pruning.probe import find_safe_groups, require_equal_cut
from pruning.selectors.base import Constraints, Kept, Selector, require_reachable
from pruning.selectors.registry import selector as selector_by_name
from pruning.trace import Inputs, as_inputs, trace


@dataclass(frozen=True, eq=False)
class PruneResult:
    """A pruned network and what was done to it.

    Attributes:
        model: the smaller network (the user's own module if pruned in place).
        plan: rebuilds it from a fresh network and a state dict.
        macs_before, macs_after: multiply-accumulates per example, counted on the networks themselves.
        params_before, params_after: number of parameters.
        frozen: channels that could not be removed, and why.
        kept: group name -> (units kept, units before).
        max_difference: masked against cut, relative, fp64, evaluation mode.
    """

    model: nn.Module
    plan: Plan
    macs_before: float
    macs_after: float
    params_before: int
    params_after: int
    frozen: tuple[Frozen, ...]
    kept: Mapping[str, tuple[int, int]]
    max_difference: float


def prune(  # noqa: PLR0913  one argument per question the user may answer, all but two have a default
    model: nn.Module,
    example_input: Tensor | Inputs,
    *,
    macs: float = 0.5,
    budget: Callable[[Grouping], Budget] | None = None,
    criterion: str | Criterion = "taylor",
    loader: Batches | None = None,
    loss: Loss = nn.functional.cross_entropy,
    selector: str | Selector = "global",
    round_to: int | Mapping[str, int] = 1,
    min_keep: int = 1,
    ignore: Iterable[str] = (),
    inplace: bool = False,
) -> PruneResult:
    """Remove the channels a network needs least.

    Args:
        model: the network; a copy is pruned unless `inplace`.
        example_input: a tensor [N, ...] or a tuple of them, on the network's device.
        macs: fraction of the multiply-accumulates to keep, in (0, 1]; not used with `budget`.
        budget: another cost and its limit instead of MACs: `parameter_budget(0.3)`, or any function of the
            grouping that returns a `Budget` (latency, energy).
        criterion: what makes a channel important: a name (see `criteria()`) or an instance.
        loader: batches of (inputs, targets), for criteria that need data and for them only; these do not run
            networks in half precision.
        loss: (output, targets) -> mean loss of the batch.
        selector: a name (see `selectors()`) or an instance.
        round_to: units kept per group are a multiple of this (or all); one number, or group-name pattern -> number.
        min_keep: fewest channels kept per group.
        ignore: layer-name patterns whose output channels are all kept.
        inplace: cut `model` itself, after the checks on a copy passed.

    Raises:
        ValueError: the network cannot be exported, nothing can be pruned, the budget cannot be met (the
            closest is named), or data is missing or superfluous.
        RuntimeError: the cut network failed its check against the masked one; `model` is unchanged.
    """
    judge = criterion_by_name(criterion) if isinstance(criterion, str) else criterion
    chooser = selector_by_name(selector) if isinstance(selector, str) else selector
    constraints = Constraints(round_to, min_keep)
    _check_arguments(macs, judge, chooser, ignore)
    require_data_where_it_belongs(judge, loader)
    require_sound_network(model, judge)
    inputs = as_inputs(example_input)
    grouping = find_safe_groups(trace(model, inputs), ignore=ignore)
    if not grouping.groups:
        reasons = sorted({entry.reason for entry in grouping.frozen})
        raise ValueError(
            f"{type(model).__name__}: nothing can be pruned; every channel is frozen: {'; '.join(reasons)}"
        )
    macs_before = count_macs(model, inputs)
    cost = macs_cost(grouping, macs_before)
    sizes = full_counts(grouping)
    limits = budget(grouping) if budget else Budget(cost, macs * macs_before)
    require_reachable(sizes, limits, constraints)
    scores = judge.score(grouping, loader, loss)
    checked_scores(judge, grouping, scores)
    classes = structure_classes(grouping)
    kept = chooser.select(scores, limits, constraints, comparable=judge.comparable, classes=classes)
    plan, pruned, difference = _cut(grouping, kept, model)
    macs_after = count_macs(pruned, inputs)
    predicted = cost({name: len(units) for name, units in kept.items()})
    if abs(macs_after - predicted) > 1e-6 * macs_before:
        raise RuntimeError(f"predicted {predicted:.6g} MACs, counted {macs_after:.6g} on the cut network")
    params_before = count_parameters(model)
    return PruneResult(
        model=plan.apply(model) if inplace else pruned,
        plan=plan,
        macs_before=macs_before,
        macs_after=macs_after,
        params_before=params_before,
        params_after=count_parameters(pruned),
        frozen=grouping.frozen,
        kept={name: (len(units), sizes[name]) for name, units in kept.items()},
        max_difference=difference,
    )


def _check_arguments(macs: float, criterion: Criterion, selector: Selector, ignore: Iterable[str]) -> None:
    require_fraction("macs", macs)
    for argument, value, kind in (("criterion", criterion, Criterion), ("selector", selector, Selector)):
        if not isinstance(value, kind):
            raise ValueError(f"{argument}: expected a name or an instance of {kind.__name__}, got {value!r}")
    if isinstance(ignore, str):
        raise ValueError(f"ignore: expected a list of patterns, got the text {ignore!r}; write [{ignore!r}]")


def _cut(grouping: Grouping, kept: Kept, model: nn.Module) -> tuple[Plan, nn.Module, float]:
    """The plan, a cut copy of the user's module (its own mode), and the checked difference."""
    plan = Plan.from_kept(grouping, kept)
    with torch.no_grad():
        pruned = plan.apply(copy.deepcopy(model))
    return plan, pruned, require_equal_cut(grouping, kept, pruned)
