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


@pytest.mark.parametrize("macs", [0, 0.0, -1.0, 1.5, float("nan"), "0.5", None, True])
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
    for nothing in ([], iter(())):
        with pytest.raises(ValueError, match="loader is empty"):
            prune(build("conv"), image, loader=nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x.index_fill(0, torch.tensor(1), float("nan")), y), "batch 2: the inputs hold NaN"),
        (lambda x, y: (x.double(), y), r"batch 2: expected inputs of torch.float32, .*got torch.float64; convert"),
        (lambda x, y: (x, y + 3), r"loss: failed on outputs float32 \[5, 5\] and targets int64 \[5\] from 3 to 7: .*"),
        (lambda x, y: (x, y[:3]), r"loss: failed on outputs .* targets int64 \[3\] from 0 to 2"),
        (lambda x, y: (x, [0, 1]), "loss: failed on .* targets of type list"),
        (lambda x, y: (x, torch.full((5, 5), float("nan"))), "loss: expected a finite scalar.*got nan"),
    ],
)
def test_batches_that_cannot_be_used(build, image, change, message):
    first, second = batches()
    with pytest.raises(ValueError, match=message):
        prune(build("conv"), image, loader=[first, change(*second)])


def test_arguments_of_the_wrong_kind(build, image):
    for options, message in (
        ({"criterion": pruning.Magnitude}, "criterion: expected a name or an instance of Criterion"),
        ({"criterion": "magnitude", "selector": 3}, "selector: expected a name or an instance of Selector, got 3"),
        ({"criterion": "magnitude", "ignore": "features.*"}, r"ignore: expected a list .* write \['features.\*'\]"),
        ({"criterion": "magnitude", "round_to": 2.5}, "round_to: expected an integer"),
        ({"criterion": "magnitude", "round_to": {"layer9": 4}}, "'layer9' matches no group; groups: features.0"),
    ):
        with pytest.raises(ValueError, match=message):
            prune(build("conv"), image, **options)


class Wrong(pruning.Criterion):
    """Scores as a buggy criterion may give them."""

    name, needs_data, comparable = "wrong", False, True

    def __init__(self, change):
        self.change = change

    def score(self, grouping, batches, loss):
        scores = {g.name: torch.arange(g.size).double() for g in grouping.groups}
        self.change(scores)
        return scores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s["features.4"].__setitem__(2, float("nan")),
            r"'wrong', group 'features.4': .* got nan for unit 2 \(1",
        ),
        (lambda s: s.update({"features.4": s["features.4"][:, None]}), r"expected a tensor of 12 scores.*\[12, 1\]"),
        (lambda s: s.update({"features.4": s["features.4"][1:]}), r"expected a tensor of 12 scores.*\[11\]"),
        (lambda s: s.update({"features.4": s["features.4"].tolist()}), r"expected a tensor of 12 scores, got list"),
        (lambda s: s.pop("features.4"), r"missing \['features.4'\], unknown \[\]"),
        (lambda s: s.update({"head": s["features.4"]}), r"missing \[\], unknown \['head'\]"),
    ],
)
def test_scores_that_make_no_sense(build, image, change, message):
    with pytest.raises(ValueError, match=message):
        prune(build("conv"), image, criterion=Wrong(change))


def test_everything_ignored(build, image):
    with pytest.raises(ValueError, match="nothing can be pruned.*ignored by the user"):
        prune(build("conv"), image, criterion="magnitude", ignore=["features.*", "classifier.*"])


@pytest.mark.parametrize(("value", "name"), [("nan", "NaN"), ("inf", "infinity")])
def test_broken_weights_are_refused(build, image, value, name):
    model = build("conv")
    model.features[0].weight.data[2] = float(value)
    with pytest.raises(ValueError, match=f"ConvNet, tensor 'features.0.weight': holds {name}"):
        prune(model, image, criterion="magnitude")


def test_a_buffer_may_hold_infinity(build, image):
    model = build("conv")
    model.register_buffer("mask", torch.full((2, 2), -torch.inf))
    result = prune(model, image, criterion="magnitude")
    assert result.macs_after < result.macs_before


@pytest.mark.parametrize("wrong", [torch.zeros(1, 5, 8, 8), torch.zeros(1, 3, 8, 8).half()])
def test_an_example_the_network_does_not_take(build, wrong):
    with pytest.raises(ValueError, match=r"whose parameters are torch.float32, does not take \(torch.float(32|16) \[2"):
        prune(build("conv"), wrong, criterion="magnitude")


def test_a_budget_that_is_none(build, image):
    with pytest.raises(ValueError, match="expected a function that returns a pruning.Budget, got 3 from it"):
        prune(build("conv"), image, criterion="magnitude", budget=lambda grouping: 3)


def test_training_that_diverges_is_refused(build, image):
    def tune(network, phase):
        network.features[0].weight.data.fill_(float("nan"))
        phase.after_epoch(1)

    when = pruning.OneShot(final_epochs=1)
    with pytest.raises(ValueError, match=r"'features.0.weight': holds NaN, after training 1 of 1"):
        prune(build("conv"), image, criterion="magnitude", schedule=when, tune=tune)


class Branching(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        y = self.a(x)
        return self.b(y * 2 if y.sum() > 0 else y)


def test_control_flow_is_refused_quietly(capfd):
    with pytest.raises(
        ValueError, match=r"Branching cannot be exported.*test_prune.py, line \d+: `return .* if y.sum\(\)"
    ):
        prune(Branching(), torch.zeros(2, 4), criterion="magnitude")
    assert capfd.readouterr().err == ""


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(build, image, dtype):
    """Weights are scored in fp64, so the choice is that of their fp32 copy; what runs the network is refused."""
    model = build("conv").to(dtype)
    result = prune(model, image.to(dtype), criterion="magnitude")
    assert result.model.classifier[0].weight.dtype == dtype
    assert result.max_difference < 1e-9
    wide = copy.deepcopy(model).float()
    assert prune(wide, image, criterion="magnitude").plan == result.plan
    with pytest.raises(ValueError, match=r"'taylor' runs the network, .*half precision.*result.plan.apply\(model\)"):
        prune(model, image.to(dtype), loader=[(x.to(dtype), y) for x, y in batches()])
    shape = prune(wide, image, loader=batches()).plan.apply(model).classifier[0].weight
    assert shape.dtype == dtype and shape.shape[1] < 48


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
