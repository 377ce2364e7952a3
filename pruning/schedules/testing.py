"""Conformance suite for schedules: a new schedule passes it by overriding one fixture.

    class TestMine(ScheduleSuite):
        @pytest.fixture
        def schedule(self) -> Schedule:
            return Mine(epochs=1)

Choose few epochs, but at least one. It checks that the budget is met, that phases add up, that one plan rebuilds the
network, that nothing of the user's is touched even if training fails, and that a pruning killed after every cut and
every training ends bit for bit where an unbroken one does. Shipped with the package; needs pytest.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning.pruner import Pruner
from pruning.request import Request
from pruning.schedules.base import Phase, Schedule, Tune
from pruning.testing import randomise
from pruning.trace import tensors_of


def small_network() -> nn.Module:
    """Two groups and a batch norm, exported quickly: input [N, 4], output [N, 3]."""
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.Dropout(0.2), nn.ReLU(), nn.Linear(5, 3)
    )


def train(model: nn.Module, phase: Phase) -> None:
    """Plain training of `small_network`; what an epoch sees and drops depends on its number only."""
    optimiser = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    model.train()
    for epoch in range(phase.epochs):
        torch.manual_seed(phase.first_epoch + epoch)
        optimiser.zero_grad()
        F.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 3).backward()
        optimiser.step()
        phase.after_epoch(epoch + 1)
    model.eval()


class ScheduleSuite:
    """Tests every schedule must pass; override `schedule`."""

    @pytest.fixture
    def schedule(self) -> Schedule:
        """The schedule under test; it must want training."""
        raise NotImplementedError("override the fixture `schedule`")

    @pytest.fixture
    def model(self) -> nn.Module:
        """A small network, partly in evaluation mode and with a frozen layer."""
        torch.manual_seed(3)
        model = randomise(small_network()).train()
        model.get_submodule("1").eval()
        model.get_submodule("3").requires_grad_(False)
        return model

    def start(self, model: nn.Module, schedule: Schedule, tune: Tune = train) -> Pruner:
        """A pruning to half of the multiply-accumulates."""
        return Pruner(model, torch.ones(2, 4), Request(criterion="magnitude"), schedule, tune)

    def test_it_meets_the_budget_in_phases_that_add_up(self, schedule: Schedule, model: nn.Module) -> None:
        phases: list[Phase] = []

        def tune(network: nn.Module, phase: Phase) -> None:
            phases.append(phase)
            train(network, phase)

        before = copy.deepcopy(tensors_of(model))
        pruner = self.start(model, schedule, tune)
        full = pruner.network.cost
        costs = [full, *pruner.run()]
        assert costs == sorted(costs, reverse=True) and costs[-1] <= 0.5 * full
        assert [phase.first_epoch for phase in phases] == [
            sum(earlier.epochs for earlier in phases[:i]) for i in range(len(phases))
        ]
        assert sum(phase.epochs for phase in phases) == sum(step.epochs for step in pruner.steps) > 0
        assert [phase.final for phase in phases] == [phase.number == len(pruner.steps) - 1 for phase in phases]
        result = pruner.result()
        assert result.max_difference < 1e-9 and result.macs_after <= 0.5 * result.macs_before
        assert [m.training for m in result.model.modules()] == [m.training for m in model.modules()]
        assert [p.requires_grad for p in result.model.parameters()] == [p.requires_grad for p in model.parameters()]
        fresh = result.plan.apply(small_network())
        fresh.load_state_dict(result.model.state_dict())
        x = torch.randn(2, 4)
        assert torch.equal(fresh.eval()(x), copy.deepcopy(result.model).eval()(x))
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())

    def test_it_goes_on_bit_for_bit_from_every_state(self, schedule: Schedule, model: nn.Module) -> None:
        whole = self.start(model, schedule)
        costs = list(whole.run())
        state: dict[str, Any] | None = None
        for cost in costs:
            pruner = self.start(model, schedule)
            if state is not None:
                pruner.load_state_dict(state)
            assert next(pruner.run()) == cost
            state = copy.deepcopy(pruner.state_dict())
        assert list(pruner.run()) == []
        assert pruner.result().plan == whole.result().plan and pruner.result().kept == whole.result().kept
        require_same(pruner.network.model, whole.network.model)

    def test_training_that_fails_touches_nothing(self, schedule: Schedule, model: nn.Module) -> None:
        def tune(network: nn.Module, phase: Phase) -> None:
            next(network.parameters()).data.fill_(0)
            raise KeyboardInterrupt

        before = copy.deepcopy(tensors_of(model))
        pruner = self.start(model, schedule, tune)
        with pytest.raises(KeyboardInterrupt):
            list(pruner.run())
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())
        with pytest.raises(RuntimeError, match="last state saved"):
            pruner.state_dict()


def require_same(first: nn.Module, second: nn.Module) -> None:
    """Two networks have the same tensors, bit for bit."""
    one, two = tensors_of(first), tensors_of(second)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
