"""The verb end to end."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pruning
from pruning import Budget, count_macs, count_parameters, find_groups, macs_cost, parameter_cost, prune
from pruning.cost import full_counts, parameter_budget

NAMES = ["conv", "resnet", "concat", "grouped", "nhwc", "gates", "self-residual", "matmul", "tied"]


def batches(size=8):
    return [(torch.randn(n, 3, size, size), torch.arange(n) % 5) for n in (6, 5)]


@pytest.mark.parametrize(
    ("criterion", "selector"), [("magnitude", "global"), ("taylor", "local"), ("taylor-weight", "global")]
)
def test_resnet20_to_half(resnet20, criterion, selector):
    image = torch.randn(1, 3, 32, 32)
    loader = None if criterion == "magnitude" else batches(32)
    result = prune(resnet20, image, criterion=criterion, selector=selector, loader=loader)
    assert 0.4 < result.macs_after / result.macs_before <= 0.5
    assert result.max_difference < 1e-9
    assert result.macs_before == pytest.approx(40.55e6, rel=1e-3)
    assert result.params_after == sum(p.numel() for p in result.model.parameters()) < result.params_before
    assert result.model(image).shape == (1, 5)
    assert next(iter(resnet20.parameters())).shape[0] == 16


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_what_is_counted_on_the_cut_network(build, image, traced, name):
    """Inputs and outputs shrink together: predicted MACs and parameters equal a recount, on every structure."""
    grouping = find_groups(traced(name))
    macs = macs_cost(grouping, count_macs(build(name), image))
    parameters = parameter_cost(grouping)
    assert macs.constant == pytest.approx(0)
    assert parameters(full_counts(grouping)) == count_parameters(build(name))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        sizes = {g.name: int(torch.randint(1, g.size + 1, (), generator=generator)) for g in grouping.groups}
        kept = {name: tuple(range(size)) for name, size in sizes.items()}
        model = pruning.Plan.from_kept(grouping, kept).apply(build(name))
        assert macs(sizes) == pytest.approx(count_macs(model, image), rel=1e-12)
        assert parameters(sizes) == count_parameters(model)


def test_macs_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Flatten(), nn.Linear(8 * 16, 5))
    assert count_macs(model, torch.randn(3, 3, 8, 8)) == 36 * 4 * 27 + 16 * 8 * 9 + 128 * 5


def test_budget_in_parameters(build, image):
    result = prune(build("conv"), image, criterion="magnitude", budget=parameter_budget(0.3))
    assert 0.2 < result.params_after / result.params_before <= 0.3


def test_any_cost_of_kept_channels(build, image):
    def slow_stem(grouping):
        return Budget(lambda kept: 10.0 * kept["features.0"] + kept["features.4"], 30.0, "ms")

    result = prune(build("conv"), image, criterion="magnitude", budget=slow_stem, selector="local")
    assert 10 * result.kept["features.0"][0] + result.kept["features.4"][0] <= 30


def test_rounding_and_minimum(build, image):
    result = prune(build("concat"), image, criterion="magnitude", macs=0.7, round_to=2, min_keep=3)
    for kept, size in result.kept.values():
        assert kept == size or (kept % 2 == 0 and kept >= 4)


def test_a_budget_out_of_reach_names_the_closest(build, image):
    with pytest.raises(ValueError, match=r"cannot be met: the closest is .* MACs \(\d+\.\d% of"):
        prune(build("resnet"), image, criterion="magnitude", macs=0.001)


@pytest.mark.parametrize("macs", [0.0, -1.0, 1.5, float("nan")])
def test_fractions_out_of_range(build, image, macs):
    with pytest.raises(ValueError, match="macs: expected the fraction"):
        prune(build("conv"), image, criterion="magnitude", macs=macs)


def test_data_where_it_belongs(build, image):
    with pytest.raises(ValueError, match="'taylor' needs data"):
        prune(build("conv"), image)
    with pytest.raises(ValueError, match="'magnitude' uses no data"):
        prune(build("conv"), image, criterion="magnitude", loader=batches())
    with pytest.raises(ValueError, match=r"batch 1: expected inputs of shape .*\[\[3, 8, 8\]\].*\[\[3, 32, 32\]\]"):
        prune(build("conv"), image, loader=batches(32))
    with pytest.raises(ValueError, match="loader is empty"):
        prune(build("conv"), image, loader=[])


def test_everything_ignored(build, image):
    with pytest.raises(ValueError, match="nothing can be pruned.*ignored by the user"):
        prune(build("conv"), image, criterion="magnitude", ignore=["features.*", "classifier.*"])


def test_nan_weights_are_refused(build, image):
    model = build("conv")
    model.features[0].weight.data[2] = float("nan")
    with pytest.raises(ValueError, match=r"nan|NaN"):
        prune(model, image, criterion="magnitude")


@pytest.mark.parametrize("training", [True, False])
def test_the_original_is_untouched(build, image, training):
    model = build("conv").train(training)
    before, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    result = prune(model, image, loader=[(torch.ones(2, 3, 8, 8), torch.tensor([0, 1]))])
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert result.model is not model
    assert all(m.training == training for m in model.modules())
    assert all(m.training == training for m in result.model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_in_place_equals_the_copy(build, image):
    copied = prune(build("resnet"), image, criterion="magnitude")
    model = build("resnet")
    inplace = prune(model, image, criterion="magnitude", inplace=True)
    assert inplace.model is model and inplace.plan == copied.plan
    for one, two in zip(model.parameters(), copied.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_half_precision(build, image):
    model = build("conv").to(torch.bfloat16)
    result = prune(model, image.to(torch.bfloat16), criterion="magnitude")
    assert result.model.classifier[0].weight.dtype == torch.bfloat16


def test_the_pruned_network_trains(build, image):
    model = prune(build("resnet"), image, criterion="magnitude").model.train()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    x, y = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_pruning_twice(build, image):
    first = prune(build("resnet"), image, criterion="magnitude", macs=0.6)
    second = prune(first.model, image, criterion="magnitude", macs=0.6)
    assert second.macs_after / first.macs_before <= 0.36
    rebuilt = second.plan.apply(first.plan.apply(build("resnet")))
    rebuilt.load_state_dict(second.model.state_dict())
