"""`Pruner`: prunes a network step by step, as a schedule says. Stops anywhere, goes on bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning.cost import count_macs, count_parameters, full_counts
from pruning.preconditions import require_whole_tensors
from pruning.request import Request
from pruning.result import PruneResult
from pruning.schedules.base import Phase, Schedule, Step, Tune
from pruning.shrinking import Shrinking, copy_tensors
from pruning.trace import Inputs, tensors_of


class Pruner:
    """Prunes a copy of a network.

        pruner = Pruner(model, x, Request(macs=0.5, criterion="magnitude"), Iterative(steps=5), tune)
        for cost in pruner.run():
            save(pruner.state_dict())
        result = pruner.result()

    To take up an interrupted pruning, make the same Pruner from the same network, `load_state_dict` what `state_dict`
    gave and `run` on. A phase of training that was interrupted is asked for again, with the network and the phase as
    before, so `tune` may find its own checkpoint of that phase. Torch's random state, where `tune` uses it, is the
    caller's to restore.

    Attributes:
        network: the working copy and what is left of it.
        steps: all of them, as the schedule wants them.
        done: how many are done.
        is_cut: whether the cut of the next one is done, and its training is to come.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor | Inputs,
        request: Request,
        schedule: Schedule,
        tune: Tune | None = None,
    ) -> None:
        """Find groups and steps; nothing is removed or trained yet, and `model` is never touched.

        Args:
            model: the network.
            example_input: a tensor [N, ...] or a tuple of them, on the network's device.
            request: what to remove.
            schedule: when.
            tune: trains; for schedules that want training, and for them only.

        Raises:
            ValueError: the network or the budget is impossible, `tune` is missing or superfluous, or the loader can
                be iterated only once though there are several steps.
        """
        self._source, self._request = model, request
        self.network = Shrinking(model, example_input, request)
        self.steps: tuple[Step, ...] = tuple(schedule.steps(self.network))
        self.done, self.is_cut, self._busy = 0, False, False
        self._schedule, self._tune = schedule, tune
        epochs = sum(step.epochs for step in self.steps)
        if epochs and tune is None:
            raise ValueError(f"schedule {schedule.name!r} wants {epochs} epochs of training: pass tune=, which trains")
        if tune is not None and not epochs:
            raise ValueError(
                f"schedule {schedule.name!r} wants no epochs of training: leave out tune=, or ask for some"
            )
        if len(self.steps) > 1 and isinstance(request.loader, Iterator):
            raise ValueError("loader: every step scores anew; give one that can be iterated again, such as a list")

    def run(self) -> Iterator[float]:
        """Yields the cost of the network, in the budget's unit, after every cut and after every training.

        The state may be saved then. When a step fails, the last state saved is what to go on from.

        Raises:
            ValueError: the criterion, the selector or `tune` refuses, or `tune` has left NaN behind.
            RuntimeError: a cut network failed a check, or `tune` did not report the epochs of soft pruning.
        """
        self._require_idle()
        while self.done < len(self.steps):
            step = self.steps[self.done]
            if not self.is_cut:
                self._busy = True
                self._cut(step)
                self.is_cut, self._busy = True, False
                if step.cuts:
                    yield self.network.cost
            self._busy = True
            self._train(step)
            self.done, self.is_cut, self._busy = self.done + 1, False, False
            if step.epochs:
                yield self.network.cost

    def result(self, *, inplace: bool = False) -> PruneResult:
        """The pruned network; its plan is that of the original network, whatever the number of steps.

        Args:
            inplace: cut the user's own module and give it the weights, instead of returning a copy.

        Raises:
            ValueError: steps are left to do.
        """
        if self.done < len(self.steps):
            raise ValueError(f"pruning: {self.done} of {len(self.steps)} steps are done; exhaust run() first")
        network, sizes = self.network, full_counts(self.network.original)
        model, before = network.model, count_parameters(network.original.trace.model)
        if inplace:
            with torch.no_grad():
                model = network.plan.apply(self._source)
            copy_tensors(tensors_of(network.model), model)
        return PruneResult(
            model=model,
            plan=network.plan,
            macs_before=network.macs,
            macs_after=count_macs(network.model, network.inputs),
            params_before=before,
            params_after=count_parameters(network.model),
            frozen=network.original.frozen,
            kept={name: (count, sizes[name]) for name, count in network.counts.items()},
            max_difference=network.difference,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: nested tensors (not copied) and plain values.

        Raises:
            RuntimeError: in the middle of a step; save when `run` has yielded.
        """
        self._require_idle()
        return {**self._identity(), "done": self.done, "is_cut": self.is_cut, "network": self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: it is of another schedule, request or network; says what differs, and nothing has changed.
        """
        for key, now in self._identity().items():
            then = state[key]
            if then != now:
                if isinstance(now, list) and len(now) == len(then):
                    then, now = next((a, b) for a, b in zip(then, now, strict=True) if a != b)
                raise ValueError(f"pruning: the state is of another pruning: {key} was {then}, is {now}")
        self.network.load_state_dict(state["network"])
        self.done, self.is_cut = state["done"], state["is_cut"]

    def _identity(self) -> dict[str, Any]:
        request = self._request
        return {
            "schedule": self._schedule.name,
            "criterion": request.criterion.name,
            "selector": request.selector.name,
            "constraints": repr(request.constraints),
            "ignore": repr(request.ignore),
            "steps": [repr(step) for step in self.steps],
        }

    def _require_idle(self) -> None:
        if self._busy:
            raise RuntimeError("pruning: in the middle of a step, or a step failed; go on from the last state saved")

    def _cut(self, step: Step) -> None:
        network = self.network
        if step.limit is not None:
            network.cut(network.choose(step.limit))
        if step.counts:
            network.cut(network.best(dict(step.counts)))

    def _train(self, step: Step) -> None:
        """The training of a step, with zeroing after every epoch where the step is soft."""
        if not step.epochs:
            return
        assert self._tune is not None
        last = 0

        def after_epoch(done: int) -> None:
            nonlocal last
            if not last < done <= step.epochs:
                raise ValueError(f"tune: after_epoch({done}) after epoch {last} of a phase of {step.epochs}")
            last = done
            if step.soft:
                self.network.zero(self.network.choose(step.soft[done - 1]))

        earlier = sum(each.epochs for each in self.steps[: self.done])
        final = self.done == len(self.steps) - 1
        self._tune(self.network.model, Phase(self.done, step.epochs, earlier, final, after_epoch))
        if step.soft and last != step.epochs:
            raise RuntimeError(
                f"tune returned after reporting epoch {last} of {step.epochs}: call phase.after_epoch(epochs done) "
                f"after every epoch, so that soft pruning can zero filters then"
            )
        require_whole_tensors(self.network.model, f"after training {self.done + 1} of {len(self.steps)}; train slower")
        self.network.restore_modes()
