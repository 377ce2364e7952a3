"""SiPP: single weights by sensitivity; shares of the budget against brute force and SciPy (structured_pruning §2)."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn

from pruning import trace
from pruning.patches import parameter_layers
from pruning.sensitivity import log_factor
from pruning.sipp import Weights, _in_line, _measure, choose, shares_of_budget, sipp
from pruning.testing import SmallNet, randomise
from pruning.trace import tensors_of

VARIANTS = ["det", "rand", "hybrid"]


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def rows_of(sizes, seed=0, factor=250.0):
    """Weights in rows of the given sizes, with random sensitivities in (0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    sensitivity = 1 - torch.rand(len(row), generator=generator, dtype=torch.float64)
    outputs = torch.arange(len(sizes)).double() % 3 + 1
    return Weights(sensitivity, row, torch.full((len(sizes),), factor).double(), outputs)


def objective(weights, counts):
    """Σ_f ε_f(x_f) / η_f, row by row, with the paper's formula."""
    total = 0.0
    for row, x in enumerate(counts):
        ratio = float(weights.sensitivity[weights.row == row].sum() * weights.factor[row]) / 3 / max(x, 1e-9)
        total += (ratio + math.sqrt(ratio**2 + 6 * ratio)) / 2 / float(weights.outputs[row])
    return total


def batch(count=5, seed=0):
    return [(torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)), None)]


@pytest.fixture
def net():
    torch.manual_seed(6)
    return randomise(SmallNet())


def test_the_bound_solves_the_sample_complexity():
    """x = S α (6 + 4ε) / (12 ε²): what the bound was solved for."""
    weights = rows_of([5, 3, 7])
    for count in (1, 4, 30):
        for row, epsilon in enumerate(weights.bounds(torch.arange(3), torch.full((3,), count)).tolist()):
            complexity = float(weights.sensitivity[weights.row == row].sum()) * 250
            assert complexity * (6 + 4 * epsilon) / (12 * epsilon**2) == pytest.approx(count)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_shares_of_the_budget_are_optimal(seed, sizes, data):
    """Against every way to give each row one weight or more."""
    budget = data.draw(st.integers(len(sizes), sum(sizes)))
    weights = rows_of(sizes, seed, factor=data.draw(st.sampled_from([0.01, 1.0, 250.0])))
    found = shares_of_budget(weights, budget).tolist()
    ways = [w for w in itertools.product(*(range(1, n + 1) for n in sizes)) if sum(w) == budget]
    assert sum(found) == budget and tuple(found) in ways
    assert objective(weights, found) == pytest.approx(min(objective(weights, way) for way in ways), rel=1e-9)


def test_shares_of_the_budget_against_a_convex_solver():
    """Real numbers of weights cost no more than whole ones, and hardly less."""
    sizes, budget = [40, 25, 60, 10, 33], 70
    weights = rows_of(sizes, seed=3)
    found = shares_of_budget(weights, budget).tolist()
    relaxed = minimize(
        lambda x: objective(weights, x),
        [budget / len(sizes)] * len(sizes),
        bounds=[(0.5, n) for n in sizes],
        constraints={"type": "eq", "fun": lambda x: sum(x) - budget},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert relaxed.success
    assert relaxed.fun <= objective(weights, found) * (1 + 1e-9) <= relaxed.fun * 1.003
    assert max(abs(a - b) for a, b in zip(found, relaxed.x, strict=True)) < 1.5


def test_few_weights_go_where_the_bound_is_largest():
    weights = rows_of([4, 4, 4])
    bounds = weights.bounds(torch.arange(3), torch.ones(3)) / weights.outputs
    assert shares_of_budget(weights, 1).tolist() == [int(i == bounds.argmax()) for i in range(3)]


def test_weights_without_sensitivity_come_last():
    weights = Weights(double([0.5, 0.0, 0.0, 0.5]), torch.tensor([0, 0, 1, 2]), double([250.0] * 3), double([1.0] * 3))
    assert shares_of_budget(weights, 2).tolist() == [1, 0, 1]
    for variant in VARIANTS:
        assert choose(weights, 2, variant, 0).tolist() == [1, 0, 0, 1]
        assert choose(weights, 4, variant, 0).tolist() == [1, 1, 1, 1]


def test_draws_keep_every_expectation():
    """Exactly the budget each time, and the mean of every factor is one: 1500 seeds, five standard errors."""
    weights = rows_of([6, 4, 5], seed=1)
    draws = torch.stack([choose(weights, 8, "rand", seed) for seed in range(1500)])
    assert bool(((draws > 0).sum(1) == 8).all()) and bool((draws[draws > 0] >= 1).all())
    error = draws.std(0) / 1500**0.5
    assert bool(((draws.mean(0) - 1).abs() <= 5 * error + 1e-12).all())
    chance = (draws > 0).double().mean(0)
    first = weights.row == 0
    assert chance[first].argmax() == weights.sensitivity[first].argmax()


def test_a_hybrid_row_takes_the_smaller_bound():
    """Row 0 loses next to nothing with its largest weight; row 1 is even, α small, and better off at random."""
    weights = Weights(
        double([1.0, 1e-6, 1e-6] + [0.5] * 30),
        torch.tensor([0] * 3 + [1] * 30),
        double([2.0, 0.01]),
        double([1.0, 1.0]),
    )
    counts = shares_of_budget(weights, 12)
    found = choose(weights, 12, "hybrid", 0)
    drawn = choose(weights, 12, "rand", 0)
    lost = 3 * 0.5 * (30 - int(counts[1]))
    assert lost > float(weights.bounds(torch.tensor([1]), counts[1:])[0])
    assert torch.equal(found[3:], drawn[3:]) and float(found[3:].max()) > 1
    assert int(counts[0]) >= 1 and float(found[0]) == 1 and bool(((found[:3] == 0) | (found[:3] == 1)).all())


def test_golden_network():
    """Weights [[1, 3], [2, 2]] on a = (1, 1): shares .25, .75, .5, .5; half of them are .75 and the first .5."""
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    result = sipp(model, torch.ones(2, 2), [(torch.ones(1, 2), None)], keep=0.5)
    assert result.masks["weight"].tolist() == [[False, True], [True, False]]
    assert result.model.weight.tolist() == [[0, 3], [2, 0]]


def test_rows_of_a_network(net):
    """Outputs and signs in turn; α of 64 positions and 9 taps for convolutions, of one for the linear layer."""
    traced = trace(net, batch()[0][0])
    line = _in_line(tensors_of(net), _measure(traced, parameter_layers(traced), batch(), 5, "rand"))
    values = torch.cat([layer.weight.detach().flatten() for layer in (net.stem, net.down, net.up, net.head)])
    assert torch.equal(line.row % 2 == 1, values < 0) and int(line.row.max()) == 2 * (6 + 4 + 6 + 5) - 1
    assert (line.row[:27] // 2).tolist() == [0] * 27 and (line.row[-96:] // 2).tolist() == [20] * 96
    assert line.factor.tolist() == [log_factor(64, 9, 1e-16)] * 32 + [log_factor(1, 1, 1e-16)] * 10
    assert line.outputs.tolist() == [6] * 12 + [4] * 8 + [6] * 12 + [5] * 10


def test_det_keeps_the_largest_mean_shares(net):
    """The first layer by its definition: mean over positions of both signs' shares, largest over stacked examples."""
    x = batch()[0][0]
    result = sipp(net, x[:2], batch(), keep=0.3)
    stacked = torch.cat([x.clamp(min=0), (-x).clamp(min=0)]).double()
    patch = nn.functional.unfold(stacked, 3, padding=1)
    weight = net.stem.weight.detach().double().flatten(1)
    mean = torch.zeros_like(weight)
    for signed in (weight.clamp(min=0), (-weight).clamp(min=0)):
        terms = signed[None, :, :, None] * patch[:, None]
        mean = torch.maximum(mean, (terms / terms.sum(2, keepdim=True).clamp(min=1e-12)).mean(3).amax(0))
    mask = result.masks["stem.weight"].flatten(1)
    assert 0 < int(mask.sum()) < mask.numel()
    assert float(mean[mask].min()) > float(mean[~mask].max())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("keep", [0.1, 0.5, 1.0])
def test_the_budget_is_exact_and_nothing_else_changes(net, variant, keep):
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    assert net.training
    result = sipp(net, torch.randn(2, 3, 8, 8, generator=torch.Generator()), batch(), keep=keep, variant=variant)
    assert torch.equal(torch.get_rng_state(), state) and net.training and result.model.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert set(result.masks) == {"stem.weight", "down.weight", "up.weight", "head.weight"} and result.dense == ()
    total = sum(mask.numel() for mask in result.masks.values())
    assert sum(int(mask.sum()) for mask in result.masks.values()) == round(keep * total)
    after = result.model.state_dict()
    for name, value in after.items():
        if name not in result.masks or keep == 1:
            assert torch.equal(value, before[name])
        elif variant == "det":
            assert torch.equal(value, before[name] * result.masks[name])
        else:
            assert torch.equal(value != 0, result.masks[name])
            assert bool((value / before[name])[result.masks[name]].ge(1 - 1e-6).all())


@pytest.mark.parametrize("variant", VARIANTS)
def test_runs_agree_and_seeds_differ(net, variant):
    x = torch.zeros(2, 3, 8, 8)
    one, again, other = (sipp(net, x, batch(), variant=variant, seed=seed).masks for seed in (0, 0, 1))
    assert all(torch.equal(mask, again[name]) for name, mask in one.items())
    assert variant != "rand" or any(not torch.equal(mask, other[name]) for name, mask in one.items())


@pytest.mark.parametrize("name", ["grouped", "matmul", "tied", "gates"])
def test_other_layers(build, name):
    """Grouped and depthwise convolutions, a matrix of parameters, a layer used twice and a weight with two names."""
    model = build(name)
    result = sipp(model, torch.randn(2, 3, 8, 8), batch(2), keep=0.4, variant="hybrid")
    total = sum(mask.numel() for mask in result.masks.values())
    assert sum(int(mask.sum()) for mask in result.masks.values()) == round(0.4 * total)
    own = dict(result.model.named_parameters())
    assert all(torch.equal(own[weight] != 0, mask) for weight, mask in result.masks.items())
    matrices = {weight for weight, value in own.items() if value.ndim > 1}
    assert matrices == set(result.masks) | set(result.dense) and not set(result.masks) & set(result.dense)
    assert result.dense == (("scale",) if name == "gates" else ())
    if name == "tied":
        assert result.model.one.weight is result.model.two.weight


def test_a_shared_weight_has_its_largest_sensitivity():
    """w = (1, 2) sees a = (1, 1) and then, with a₁ gone, (1, 0) in another layer: shares (1/3, 2/3) and (1, 0)."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(2, 1, bias=False)
            self.shared.weight.data = torch.tensor([[1.0, 2.0]])

        def forward(self, x):
            return self.shared(x), self.shared(x * torch.tensor([1.0, 0.0]))

    ones = torch.ones(2, 2)
    assert sipp(Twice(), ones, [(ones, None)], keep=0.5).masks["shared.weight"].tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "sipp, keep: expected the share"),
        ({"keep": 1.2}, "sipp, keep: expected the share"),
        ({"variant": "top"}, "sipp, variant: expected det, rand or hybrid, got 'top'"),
        ({"examples": 0}, "sipp, examples: expected an integer >= 1"),
        ({"seed": -1}, "sipp, seed: expected an integer >= 0"),
        ({"loader": None}, "'sipp' needs data"),
        ({"loader": []}, "empty"),
        ({"model": nn.ReLU()}, "ReLU has no convolution"),
    ],
)
def test_bad_input(net, options, message):
    arguments = {"model": net, "example_input": torch.zeros(2, 3, 8, 8), "loader": batch(), **options}
    with pytest.raises(ValueError, match=message):
        sipp(**arguments)
