"""Optimiser state after a cut: the kept channels go on with their momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pruning.plan import Plan
from pruning.surgery import selected

Kept = Mapping[int, tuple[int, ...]]
"""Axis -> kept positions."""


def cut_optimiser(optimiser: Optimizer, model: nn.Module, plan: Plan) -> None:
    """Shorten an optimiser's state in place as `plan.apply(model)` shortened its parameters; call it after that.

        plan.apply(model)
        cut_optimiser(optimiser, model, plan)

    Parameters stay the same objects in a cut, so their groups and options need no change. Of a parameter's state, every
    axis that has the parameter's old size is shortened: momentum and moments, of SGD, Adam and all others that keep
    tensors of the parameter's shape, and the factored moments of Adafactor, which have size 1 elsewhere. Counters stay.

    Args:
        optimiser: built on the parameters of `model`, or on some of them.
        model: the network after the cut.
        plan: the cut.

    Raises:
        ValueError: the plan has not been applied, or the state of a parameter has another shape (flat, or over all
            parameters, as of L-BFGS); it is named and nothing is changed.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    cuts: dict[str, dict[int, tuple[int, tuple[int, ...]]]] = {}
    for entry in plan.axes:
        if entry.tensor in named:
            cuts.setdefault(entry.tensor, {})[entry.axis] = entry.size, entry.kept
    done: set[int] = set()
    changes: list[tuple[dict[str, Any], str, Tensor]] = []
    for name, parameter in sorted(named.items(), key=lambda item: item[0] not in cuts):
        if parameter not in optimiser.state or id(parameter) in done:
            continue
        done.add(id(parameter))
        before, kept = _before(name, parameter, cuts.get(name, {}))
        for key, value in optimiser.state[parameter].items():
            where = f"{type(optimiser).__name__}, state {key!r} of {name!r}"
            changes += [(optimiser.state[parameter], key, short) for short in _shortened(where, value, before, kept)]
    for state, key, short in changes:
        state[key] = short


def _before(name: str, parameter: Tensor, cut: Mapping[int, tuple[int, tuple[int, ...]]]) -> tuple[list[int], Kept]:
    """The parameter's shape before the cut, and the kept positions of each axis."""
    shape = list(parameter.shape)
    for axis, (size, kept) in cut.items():
        if shape[axis] != len(kept):
            raise ValueError(
                f"plan, {name!r} axis {axis}: {len(kept)} positions are kept, the network has {shape[axis]}; "
                f"apply the plan to the network first, then cut its optimiser"
            )
        shape[axis] = size
    return shape, {axis: kept for axis, (_, kept) in cut.items()}


def _shortened(where: str, value: Any, before: list[int], kept: Kept) -> list[Tensor]:
    """The shorter state, or nothing if it has no axes."""
    if not isinstance(value, Tensor):
        if isinstance(value, list | tuple | dict):
            raise ValueError(f"{where}: expected a tensor or a number, got a {type(value).__name__}; {REMEDY}")
        return []
    if value.numel() == 1:
        return []
    if value.ndim != len(before) or any(n not in (1, old) for n, old in zip(value.shape, before, strict=True)):
        raise ValueError(f"{where}: expected shape {before} or 1 along an axis, got {list(value.shape)}; {REMEDY}")
    for axis, positions in kept.items():
        if value.shape[axis] == before[axis]:
            value = selected(value, axis, torch.tensor(positions, device=value.device))
    return [value]


REMEDY = "make a new optimiser for the pruned network"
