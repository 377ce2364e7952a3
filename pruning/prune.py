"""The verb: `prune(model, example_input, macs=0.5)` cuts a network to a budget and proves the cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from pruning.cost import Budget
from pruning.criteria.base import Batches, Criterion, Loss
from pruning.groups import Grouping
from pruning.pruner import Pruner
from pruning.request import Request
from pruning.result import PruneResult
from pruning.schedules.base import Schedule, Tune
from pruning.schedules.registry import schedule as schedule_by_name
from pruning.selectors.base import Selector
from pruning.trace import Inputs


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
    schedule: str | Schedule = "one-shot",
    tune: Tune | None = None,
    inplace: bool = False,
) -> PruneResult:
    """Remove the channels a network needs least.

        prune(model, x, criterion="magnitude")
        prune(model, x, loader=batches, schedule=Iterative(steps=5), tune=lambda m, phase: train(m, phase.epochs))

    A schedule cuts in several steps; every step scores the network as it is then, with the criterion and the same
    data, and trains it. Use `Pruner` to be able to stop and go on between steps.

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
        schedule: when to cut and to train: a name (see `schedules()`) or an instance.
        tune: (network, phase) -> trains it in place for `phase.epochs` epochs (see `Phase`); for schedules that
            train, and for them only. What a criterion wants during training, such as `scale_penalty`, goes here.
        inplace: cut `model` itself, after everything else has succeeded on a copy.

    Raises:
        ValueError: the network cannot be exported, nothing can be pruned, the budget cannot be met (the
            closest is named), or data or `tune` is missing or superfluous.
        RuntimeError: the cut network failed its check against the masked one; `model` is unchanged.
    """
    request = Request(
        macs=macs,
        budget=budget,
        criterion=criterion,
        loader=loader,
        loss=loss,
        selector=selector,
        round_to=round_to,
        min_keep=min_keep,
        ignore=ignore,
    )
    when = schedule_by_name(schedule) if isinstance(schedule, str) else schedule
    pruner = Pruner(model, example_input, request, when, tune)
    for _ in pruner.run():
        pass
    return pruner.result(inplace=inplace)
