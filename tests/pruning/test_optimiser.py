"""After a cut an optimiser goes on: the kept channels keep their momentum, groups keep members and options."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import Plan, cut_optimiser, find_groups, trace
from pruning.check import mask
from pruning.gates import gated
from pruning.trace import tensors_of

OPTIMISERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.01, amsgrad=True),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, 0.01),
    "rprop": lambda groups: torch.optim.Rprop(groups, 0.01),
    "asgd": lambda groups: torch.optim.ASGD(groups, 0.01),
}


class Small(nn.Module):
    """Residual convolutions without batch norm, so that the masked network trains as the traced graph."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.up, self.head = nn.Conv2d(4, 6, 1), nn.Linear(6 * 16, 5)

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        return self.head(F.avg_pool2d(x + torch.tanh(self.up(torch.tanh(self.down(x)))), 2).flatten(1))


@pytest.fixture(scope="module")
def grouping():
    torch.manual_seed(3)
    return find_groups(trace(Small().double(), torch.randn(2, 3, 8, 8).double()))


KEPT = {"stem": (0, 2, 3, 5), "down": (1, 2)}


def groups_of(model):
    """Two groups of different options, the head apart."""
    rest = [p for name, p in model.named_parameters() if not name.startswith("head")]
    return [{"params": rest}, {"params": list(model.head.parameters()), "lr": 0.03, "weight_decay": 0.0}]


def trained(grouping, make, steps=3):
    """A copy of the network and its optimiser after some steps."""
    model = copy.deepcopy(grouping.trace.model)
    optimiser = make(groups_of(model))
    for seed in range(steps):
        x, y = data(seed)
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model, optimiser


def data(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3, 8, 8, generator=generator).double(), torch.arange(6) % 5


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_next_steps_are_those_of_the_masked_network(grouping, name):
    """Parameters and every tensor of the state, two steps after the cut, at the kept positions."""
    dense, dense_optimiser = trained(grouping, OPTIMISERS[name])
    small, optimiser = trained(grouping, OPTIMISERS[name])
    plan = Plan.from_kept(grouping, KEPT)
    plan.apply(small)
    cut_optimiser(optimiser, small, plan)
    for seed in (7, 8):
        x, y = data(seed)
        for each in (optimiser, dense_optimiser):
            each.zero_grad()
        F.cross_entropy(small(x), y).backward()
        (masked,) = gated(grouping, (x,), mask(grouping, KEPT), values=tensors_of(dense))
        F.cross_entropy(masked, y).backward()
        optimiser.step()
        dense_optimiser.step()
    for (key, parameter), whole in zip(small.named_parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(parameter, restricted(whole, key, plan), rtol=0, atol=1e-12)
        assert parameter.shape != whole.shape or not [a for a in plan.axes if a.tensor == key]
        for entry, value in optimiser.state[parameter].items():
            expected = dense_optimiser.state[whole][entry]
            expected = restricted(expected, key, plan) if expected.ndim else expected
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def restricted(tensor, name, plan):
    for entry in plan.axes:
        if entry.tensor == name:
            tensor = tensor.index_select(entry.axis, torch.tensor(entry.kept))
    return tensor


def test_groups_keep_members_and_options(grouping):
    model, optimiser = trained(grouping, OPTIMISERS["sgd"])
    before = [{**group, "params": [id(p) for p in group["params"]]} for group in optimiser.param_groups]
    plan = Plan.from_kept(grouping, KEPT)
    cut_optimiser(optimiser, plan.apply(model), plan)
    assert [{**group, "params": [id(p) for p in group["params"]]} for group in optimiser.param_groups] == before
    assert {id(p) for p in optimiser.state} == {id(p) for p in model.parameters()}


def test_factored_moments(grouping):
    """Adafactor keeps a row and a column of each weight."""
    model, optimiser = trained(grouping, lambda groups: torch.optim.Adafactor(groups, 0.01))
    state = copy.deepcopy(optimiser.state[model.head.weight])
    plan = Plan.from_kept(grouping, KEPT)
    cut_optimiser(optimiser, plan.apply(model), plan)
    (came,) = [a.kept for a in plan.axes if (a.tensor, a.axis) == ("head.weight", 1)]
    assert torch.equal(optimiser.state[model.head.weight]["row_var"], state["row_var"])
    assert torch.equal(optimiser.state[model.head.weight]["col_var"], state["col_var"][..., list(came)])


def test_an_optimiser_without_a_step_or_of_other_parameters(grouping):
    plan = Plan.from_kept(grouping, KEPT)
    model = plan.apply(copy.deepcopy(grouping.trace.model))
    fresh, other = torch.optim.AdamW(model.parameters()), trained(grouping, OPTIMISERS["adamw"])[1]
    shapes = [p.shape for p in other.state]
    for optimiser in (fresh, other):
        cut_optimiser(optimiser, model, plan)
    assert not fresh.state and [p.shape for p in other.state] == shapes


def test_tied_parameters_are_shortened_once(build, traced):
    grouping = find_groups(traced("tied"))
    model = build("tied")
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    plan = Plan.from_kept(grouping, {group.name: tuple(range(0, group.size, 2)) for group in grouping.groups})
    cut_optimiser(optimiser, plan.apply(model), plan)
    for parameter, state in optimiser.state.items():
        assert state["momentum_buffer"].shape == parameter.shape


def test_refusals_change_nothing(grouping):
    plan = Plan.from_kept(grouping, KEPT)
    model, optimiser = trained(grouping, OPTIMISERS["sgd"])
    with pytest.raises(
        ValueError, match=r"'stem.weight' axis 0: 4 positions are kept, the network has 6; apply the plan"
    ):
        cut_optimiser(optimiser, model, plan)
    plan.apply(model)
    cut_optimiser(optimiser, model, plan)
    before = copy.deepcopy(optimiser.state_dict())
    with pytest.raises(
        ValueError, match=r"SGD, state 'momentum_buffer' of 'stem.weight': expected shape \[6, 3, 3, 3\]"
    ):
        cut_optimiser(optimiser, model, plan)
    after = optimiser.state_dict()["state"]
    assert all(torch.equal(after[i]["momentum_buffer"], s["momentum_buffer"]) for i, s in before["state"].items())


def test_state_over_all_parameters_is_refused_by_name(grouping):
    model = copy.deepcopy(grouping.trace.model)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=2)
    x, y = data(0)

    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimiser.step(closure)
    plan = Plan.from_kept(grouping, KEPT)
    with pytest.raises(ValueError, match="LBFGS, state .* of 'stem.weight'.*make a new optimiser"):
        cut_optimiser(optimiser, plan.apply(model), plan)


def test_momentum_keeps_the_memory_format_of_its_parameter():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    plan = Plan.from_kept(find_groups(trace(model, torch.randn(2, 3, 8, 8))), {"0": (0, 2, 5)})
    cut_optimiser(optimiser, plan.apply(model), plan)
    for parameter in model.parameters():
        assert optimiser.state[parameter]["momentum_buffer"].stride() == parameter.stride()
