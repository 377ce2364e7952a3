"""Schedules: their steps by hand, and what each promises on a network."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pruning import (
    Budget,
    Entwined,
    Iterative,
    OneShot,
    Pruner,
    Request,
    SoftToHard,
    Step,
    find_groups,
    prune,
    schedule,
    schedules,
    trace,
)
from pruning.schedules.soft_to_hard import asymptotic_share
from pruning.schedules.testing import require_same
from pruning.zeroing import zero_filters


def at(cost, limit, chosen=None, sizes=None):
    """As much of a network as steps depend on."""
    groups = [SimpleNamespace(name=name, size=size) for name, size in (sizes or {}).items()]
    return SimpleNamespace(
        cost=cost,
        budget=SimpleNamespace(limit=limit),
        original=SimpleNamespace(groups=groups),
        choose=lambda wanted: {name: tuple(range(count)) for name, count in chosen.items()},
    )


def test_budgets_fall_geometrically_or_linearly():
    steps = Iterative(3, epochs=2, final_epochs=7).steps(at(800.0, 100.0))
    assert [step.limit for step in steps] == pytest.approx([400, 200, 100]) and steps[-1].limit == 100.0
    assert [step.epochs for step in steps] == [2, 2, 7]
    steps = Iterative(4, fall="linear").steps(at(500.0, 100.0))
    assert [step.limit for step in steps] == pytest.approx([400, 300, 200, 100])


def test_one_iteration_is_one_shot():
    network = at(800.0, 100.0)
    assert Iterative(1, epochs=3, final_epochs=4).steps(network) == OneShot(4).steps(network)


def test_a_few_units_at_a_time_layer_by_layer():
    network = at(9.0, 3.0, chosen={"a": 3, "b": 4, "c": 1}, sizes={"a": 10, "b": 4, "c": 2})
    steps = Entwined(share=0.3, epochs=2, final_epochs=5).steps(network)
    assert [step.counts for step in steps] == [(("a", 7),), (("a", 4),), (("a", 3),), (("c", 1),), ()]
    assert [step.epochs for step in steps] == [2, 2, 2, 2, 5]


def test_the_soft_share_grows_as_published(monkeypatch):
    monkeypatch.setattr(sys.modules[SoftToHard.__module__], "filters_and_biases", lambda grouping: {})
    assert asymptotic_share(0) == 0 and asymptotic_share(1) == 1
    assert asymptotic_share(1 / 8) == pytest.approx(0.75, abs=2e-5)
    soft, hard = SoftToHard(epochs=8, final_epochs=2).steps(at(800.0, 400.0))
    assert soft.soft[0] == pytest.approx(500, abs=0.01) and soft.soft[-1] == 400.0
    assert list(soft.soft) == sorted(soft.soft, reverse=True) and len(soft.soft) == soft.epochs == 8
    assert soft.limit is None and hard == Step(2, limit=400.0)
    assert SoftToHard(epochs=3, gradual=False).steps(at(800.0, 400.0))[0].soft == (400.0, 400.0, 400.0)


def chain():
    """Two groups of six and five units, quickly exported: input [N, 4]."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


X = torch.ones(2, 4)


def start(when, tune=None, **request):
    return Pruner(chain(), X, Request(**{"criterion": "magnitude", **request}), when, tune)


def test_the_verb_follows_a_schedule():
    calls = []

    def tune(network, phase):
        calls.append((phase.number, phase.epochs, phase.first_epoch, phase.final))

    result = prune(chain(), X, criterion="magnitude", schedule=Iterative(3, 2, 5), tune=tune)
    assert calls == [(0, 2, 0, False), (1, 2, 2, False), (2, 5, 4, True)]
    assert result.macs_after <= 0.5 * result.macs_before
    once = prune(chain(), X, criterion="magnitude", schedule=OneShot(1), tune=lambda network, phase: None)
    assert once.plan == prune(chain(), X, criterion="magnitude").plan


def test_in_place_the_users_own_module_gets_plan_and_weights():
    def tune(network, phase):
        for parameter in network.parameters():
            parameter.data += 0.125

    copied = prune(chain(), X, criterion="magnitude", schedule=Iterative(2), tune=tune)
    model = chain()
    own = [id(parameter) for parameter in model.parameters()]
    result = prune(model, X, criterion="magnitude", schedule=Iterative(2), tune=tune, inplace=True)
    assert result.model is model and own == [id(parameter) for parameter in model.parameters()]
    require_same(model, copied.model)


def test_every_budget_on_the_way_is_met():
    pruner = start(Iterative(3, 0, 0), macs=0.3)
    for cost, step in zip(pruner.run(), pruner.steps, strict=True):
        assert cost <= step.limit and cost == pruner.network.budget.cost(pruner.network.counts)


def test_down_to_one_unit_in_every_group():
    """A group of one unit is none any more, and costs what it costs."""

    def least(grouping):
        return Budget(lambda kept: float(sum(kept.values())), 2.0, "units")

    pruner = start(Iterative(4, 0, 0), budget=least)
    assert list(pruner.run())[-1] == 2.0
    assert pruner.result().kept == {"0": (1, 6), "2": (1, 5)}


def test_entwined_leaves_later_layers_alone_until_their_turn():
    pruner, seen = start(Entwined(0.2, 0, 0), selector="local"), []
    for _ in pruner.run():
        seen.append(pruner.network.counts)
    final = seen[-1]
    assert final["0"] < 6 and final["2"] < 5
    turn = [counts["2"] < 5 for counts in seen].index(True)
    assert all(counts["0"] == final["0"] for counts in seen[turn:])
    assert all(counts["2"] == 5 for counts in seen[:turn]) and turn == 6 - final["0"]


def test_every_step_scores_the_network_as_trained_so_far():
    """Training makes the unit that would have gone next the most important one."""
    untrained = start(Iterative(2, 0, 0), selector="local")
    runs = untrained.run()
    next(runs)
    left = set(untrained.network.units["0"])
    list(runs)
    goes = min(left - set(untrained.network.units["0"]))

    def tune(network, phase):
        network[0].weight.data[pruner.network.units["0"].index(goes)] = 100.0

    pruner = start(Iterative(2, 1, 0), tune, selector="local")
    list(pruner.run())
    assert goes in pruner.network.units["0"]
    assert pruner.network.counts == untrained.network.counts == {"0": 3, "2": 3}


def rows(network):
    return [bool((row != 0).any()) for row in network[0].weight]


def test_a_zeroed_unit_can_come_back():
    """Unit 0 is the weakest after the first epoch and the strongest after the second; unit 1 the reverse."""
    seen = []

    def tune(network, phase):
        network[0].weight.data.fill_(1.0)
        network[2].weight.data.fill_(1.0)
        for epoch, (zero, one) in enumerate([(0.01, 5.0), (9.0, 0.02)], start=1):
            network[0].weight.data[0], network[0].weight.data[1] = zero, one
            phase.after_epoch(epoch)
            seen.append(rows(network))

    def first_layer_by_one(grouping):
        return Budget(lambda kept: float(kept["0"]), 5.0, "units")

    pruner = start(SoftToHard(2, gradual=False), tune, budget=first_layer_by_one, ignore=["2"])
    list(pruner.run())
    assert seen == [[False, True, True, True, True, True], [True, False, True, True, True, True]]
    assert pruner.network.units == {"0": (0, 2, 3, 4, 5)}


def test_zeroed_are_filters_and_their_biases_and_nothing_else(build, traced):
    grouping, model = find_groups(traced("conv")), build("conv")
    before = copy.deepcopy(model.state_dict())
    zero_filters(grouping, {"features.4": tuple(i for i in range(12) if i != 3)}, model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"features.4.weight", "features.4.bias"}
    weight, bias = model.features[4].weight, model.features[4].bias
    assert bool((weight[3] == 0).all()) and float(bias[3]) == 0
    assert torch.equal(weight[4:], before["features.4.weight"][4:])
    zero_filters(grouping, {}, model)
    assert torch.equal(weight[4:], before["features.4.weight"][4:])


def test_units_that_no_weight_makes_cannot_be_zeroed():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.head = nn.Parameter(torch.ones(4)), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(x.mean(1, keepdim=True) * self.scale)

    model = Scale()
    grouping = find_groups(trace(model, X))
    with pytest.raises(ValueError, match=r"group 'scale' has no filters: .* only scale"):
        zero_filters(grouping, {"scale": (0, 1)}, model)
    assert bool((model.scale == 1).all())
    with pytest.raises(ValueError, match=r"group 'scale' has no filters"):
        Pruner(model, X, Request(criterion="random"), SoftToHard(), lambda network, phase: None)


@pytest.mark.parametrize(
    ("reports", "error", "message"),
    [
        ([], RuntimeError, r"after reporting epoch 0 of 2: call phase.after_epoch"),
        ([1], RuntimeError, r"after reporting epoch 1 of 2"),
        ([1, 1], ValueError, r"after_epoch\(1\) after epoch 1 of a phase of 2"),
        ([1, 3], ValueError, r"after_epoch\(3\) after epoch 1"),
        ([0], ValueError, r"after_epoch\(0\)"),
    ],
)
def test_soft_pruning_wants_to_hear_of_every_epoch(reports, error, message):
    def tune(network, phase):
        for number in reports:
            phase.after_epoch(number)

    with pytest.raises(error, match=message):
        list(start(SoftToHard(2), tune).run())


def test_names_and_options():
    assert schedules() == ["entwined", "iterative", "one-shot", "soft-to-hard"]
    assert all(schedule(name).name == name for name in schedules())
    assert schedule("iterative", steps=7).count == 7
    with pytest.raises(ValueError, match="schedule: expected one of entwined, iterative, .* got 'gradual'"):
        schedule("gradual")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneShot(-1), "one-shot, final_epochs: expected an integer >= 0, got -1"),
        (lambda: Iterative(0), "iterative, steps: expected an integer >= 1, got 0"),
        (lambda: Iterative(True), "iterative, steps: .* got True"),
        (lambda: Iterative(epochs=0.5), "iterative, epochs: .* got 0.5"),
        (lambda: Iterative(fall="cubic"), "iterative, fall: expected 'geometric' or 'linear', got 'cubic'"),
        (lambda: Entwined(share=0), r"entwined, share: expected a share in \(0, 1\], got 0"),
        (lambda: Entwined(share=float("nan")), "entwined, share: .* got nan"),
        (lambda: SoftToHard(0), "soft-to-hard, epochs: expected an integer >= 1, got 0"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
