"""`Shrinking`: a network on its way from its own size to the one that was asked for, cut by cut.

Every cut is made on the network as it is then, small and with its weights of then, and proven there; the units kept
and the plan are always those of the network as it came.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning.cost import count_macs, macs_cost
from pruning.criteria.base import checked_scores
from pruning.groups import Grouping
from pruning.isomorphism import structure_classes
from pruning.plan import Plan
from pruning.preconditions import require_sound_network
from pruning.probe import find_safe_groups, require_equal_cut
from pruning.remaining import remaining
from pruning.request import Request
from pruning.selectors.base import Kept, best_units, require_reachable
from pruning.trace import Inputs, as_inputs, tensors_of, trace
from pruning.zeroing import zero_filters


class Shrinking:
    """A working copy of a network, and what is left of it.

    Attributes:
        model: the working copy; always the same object.
        inputs: the example inputs.
        original: the groups of the network as it came.
        macs: multiply-accumulates per example of the network as it came.
        budget: its cost by units kept per group of `original`, and the limit in the end.
        units: group of `original` -> its units that are left, ascending.
        plan: what is left, of the network as it came.
        difference: masked against cut, the largest of all cuts so far.
    """

    def __init__(self, model: nn.Module, example_input: Tensor | Inputs, request: Request) -> None:
        """Find the groups; nothing is removed yet and `model` is only copied.

        Raises:
            ValueError: the network cannot be exported, nothing can be pruned, or the budget cannot be met.
        """
        require_sound_network(model, request.criterion)
        self.model, self.inputs, self._request = copy.deepcopy(model), as_inputs(example_input), request
        self.original = find_safe_groups(trace(model, self.inputs), ignore=request.ignore)
        if not self.original.groups:
            reasons = sorted({entry.reason for entry in self.original.frozen})
            raise ValueError(
                f"{type(model).__name__}: nothing can be pruned; every channel is frozen: {'; '.join(reasons)}"
            )
        self.macs = count_macs(model, self.inputs)
        self._macs_cost = macs_cost(self.original, self.macs)
        self.budget = request.budget(self.original, self._macs_cost, self.macs)
        self.units: Kept = {group.name: tuple(range(group.size)) for group in self.original.groups}
        self.plan, self.difference = Plan(), 0.0
        self._grouping: Grouping | None = self.original
        self._modes = {name: module.training for name, module in model.named_modules()}
        self._classes = structure_classes(self.original)
        require_reachable(self.counts, self.budget, request.constraints)

    @property
    def counts(self) -> dict[str, int]:
        """Group of `original` -> how many of its units are left."""
        return {name: len(units) for name, units in self.units.items()}

    @property
    def cost(self) -> float:
        """Of the network as it is now, in the budget's unit."""
        return self.budget(self.counts)

    def choose(self, limit: float) -> Kept:
        """The units to keep, of those that are left, to get under a cost.

        Raises:
            ValueError: the criterion or the selector refuses.
        """
        request, under = self._request, replace(self.budget, limit=limit)
        comparable = request.criterion.comparable
        return request.selector.select(
            self._scores(), under, request.constraints, comparable=comparable, classes=self._classes
        )

    def best(self, counts: Mapping[str, int]) -> Kept:
        """The units with the highest scores: so many of each group named, and all of the others.

        Raises:
            ValueError: the criterion refuses.
        """
        scores = self._scores()
        return best_units({name: scores[name] for name in counts}, counts)

    def cut(self, kept: Kept) -> None:
        """Remove all units not kept, after proving the cut on a copy.

        Raises:
            RuntimeError: the cut network fails a check; nothing has changed.
        """
        grouping = self._current()
        plan = Plan.from_kept(grouping, kept)
        with torch.no_grad():
            pruned = plan.apply(copy.deepcopy(self.model))
        difference = require_equal_cut(grouping, kept, pruned)
        units = {name: tuple(units[i] for i in kept.get(name, range(len(units)))) for name, units in self.units.items()}
        predicted = self._macs_cost({name: len(chosen) for name, chosen in units.items()})
        counted = count_macs(pruned, self.inputs)
        if abs(counted - predicted) > 1e-6 * self.macs:
            raise RuntimeError(f"predicted {predicted:.6g} MACs, counted {counted:.6g} on the cut network")
        with torch.no_grad():
            plan.apply(self.model)
        self.units, self.plan, self.difference = units, self.plan.then(plan), max(self.difference, difference)
        self._grouping = None

    def zero(self, kept: Kept) -> None:
        """Set the filters of all units not kept to zero; they stay where they are and can be trained again."""
        zero_filters(self._current(), kept, self.model)

    def restore_modes(self) -> None:
        """Training and evaluation mode of every module, as they were in the network as it came."""
        for name, module in self.model.named_modules():
            module.training = self._modes[name]

    def state_dict(self) -> dict[str, Any]:
        """What is left: nested tensors (not copied) and plain values."""
        return {
            "units": {name: list(units) for name, units in self.units.items()},
            "plan": self.plan.to_json(),
            "difference": self.difference,
            "tensors": {name: tensor.detach() for name, tensor in tensors_of(self.model).items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, on a network that has not been cut yet.

        Raises:
            ValueError: the network has been cut, or the state is of another one; nothing has changed.
        """
        if self.plan.axes:
            raise ValueError("pruning: a state is loaded before the first cut; make a new Pruner for it")
        model, plan = copy.deepcopy(self.model), Plan.from_json(state["plan"])
        with torch.no_grad():
            plan.apply(model)
        now, then = tensors_of(model), state["tensors"]
        shapes = [{name: list(t.shape) for name, t in tensors.items()} for tensors in (then, now)]
        if shapes[0] != shapes[1]:
            name = next(name for name in {**now, **then} if shapes[0].get(name) != shapes[1].get(name))
            raise ValueError(
                f"pruning: the state is of another network: {name!r} was {shapes[0].get(name, 'absent')}, "
                f"is {shapes[1].get(name, 'absent')}"
            )
        with torch.no_grad():
            plan.apply(self.model)
        copy_tensors(then, self.model)
        self.units = {name: tuple(units) for name, units in state["units"].items()}
        self.plan, self.difference = plan, state["difference"]
        self._grouping = None if plan.axes else self.original

    def _scores(self) -> dict[str, Tensor]:
        """Of the units left, with the weights they have now."""
        grouping, request = self._current(), self._request
        scores = request.criterion.score(grouping, request.loader, request.loss)
        checked_scores(request.criterion, grouping, scores)
        return scores

    def _current(self) -> Grouping:
        """The groups of the network as it is, with its weights of now."""
        if self._grouping is None:
            self._grouping = remaining(self.original, self.units, trace(self.model, self.inputs))
        copy_tensors(tensors_of(self.model), self._grouping.trace.model)
        return self._grouping


def copy_tensors(source: Mapping[str, Tensor], model: nn.Module) -> None:
    """Write values into a module's parameters and buffers of these names."""
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            tensor.copy_(source[name])
