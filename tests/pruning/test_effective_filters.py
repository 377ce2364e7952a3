"""Effective filters: redundancy by hand, per-example gradients, the hierarchical order (structured_pruning §12)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, prune, trace
from pruning.criteria import EffectiveFilters
from pruning.criteria.effective_filters import GradientMatrix, effective_rank, hierarchical_order, predicted_error
from pruning.testing import CriterionSuite, randomise


class TestEffectiveFilters(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return EffectiveFilters()


class TestEffectiveFiltersGates(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return EffectiveFilters(matrix="gates")


BOTH = pytest.mark.parametrize("matrix", ["filters", "gates"])


def redundant():
    """Six filters: 3 and 4 copy 0 and 1 (in and out), 5 is not read."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3)).double()
    for copy, source in ((3, 0), (4, 1)):
        model[0].weight.data[copy], model[0].bias.data[copy] = model[0].weight.data[source], model[0].bias.data[source]
        model[2].weight.data[:, copy] = model[2].weight.data[:, source]
    model[2].weight.data[:, 5] = 0
    return model


def data(*shape, classes=3, count=20, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator).double(), torch.arange(count) % classes


@BOTH
def test_golden_redundancy(matrix):
    """Rank 3, a row of zeros for the filter that is not read, whatever the order of the filters."""
    model, batch = redundant(), data(4)
    grouping = find_groups(trace(model, batch[0]))
    found = EffectiveFilters(matrix=matrix).matrices(grouping, [batch], F.cross_entropy)["0"]
    assert int(torch.linalg.matrix_rank(found.gram)) == 3 == effective_rank(found.gram, 1 - 1e-9)
    assert not found.gram[5].any() and found.salience[5] == 0 and bool((found.salience[:5] > 0).all())
    torch.testing.assert_close(found.gram[3], found.gram[0])
    order = [4, 2, 5, 0, 3, 1]
    model[0].weight.data, model[0].bias.data = model[0].weight.data[order], model[0].bias.data[order]
    model[2].weight.data = model[2].weight.data[:, order]
    moved = EffectiveFilters(matrix=matrix).matrices(find_groups(trace(model, batch[0])), [batch], F.cross_entropy)["0"]
    torch.testing.assert_close(moved.gram, found.gram[order][:, order])
    assert effective_rank(moved.gram, 0.99) == effective_rank(found.gram, 0.99) <= 3


def test_where_the_mean_gradient_vanishes_the_matrix_does_not():
    """At the optimum of y = w x, gradients of the examples cancel in the mean."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    model[0].weight.data, model[1].weight.data = torch.ones(2, 1).double(), torch.ones(1, 2).double()
    x, y = torch.ones(2, 1).double(), torch.tensor([[1.0], [3.0]]).double()
    grouping = find_groups(trace(model, x))
    found = EffectiveFilters().matrices(grouping, [(x, y)], F.mse_loss)["0"]
    torch.testing.assert_close(found.gram, torch.full((2, 2), 4.0).double())
    torch.testing.assert_close(found.salience, torch.full((2,), 4.0).double())


class Stream(nn.Module):
    """Two convolutions make the same units; one is grouped."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(2, 4, 3, groups=1)
        self.up, self.head = nn.ConvTranspose2d(4, 3, 2), nn.Linear(3, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.one(x)) + self.two(x))
        return self.head(F.relu(self.up(x)).mean((2, 3)))


def test_gradients_of_examples_against_autograd():
    """Columns of all members, a transposed convolution, two batches: one backward pass per example by hand."""
    torch.manual_seed(0)
    model, (x, y) = randomise(Stream()).double().eval(), data(2, 5, 5, count=7)
    grouping = find_groups(trace(model, x))
    found = EffectiveFilters().matrices(grouping, [(x[:4], y[:4]), (x[4:], y[4:])], F.cross_entropy)
    rows: dict[str, list] = {"stream": [], "up": []}
    for image, label in zip(x, y, strict=True):
        model.zero_grad()
        F.cross_entropy(model(image[None]), label[None]).backward()
        stream = [torch.cat([f(m.weight).flatten(1) for m in (model.one, model.two)], 1) for f in (gradient, weight)]
        up = [f(model.up.weight).transpose(0, 1).flatten(1) for f in (gradient, weight)]
        rows["stream"].append(stream)
        rows["up"].append(up)
    for size, pairs in ((4, rows["stream"]), (3, rows["up"])):
        (matrix,) = (m for m in found.values() if len(m.salience) == size)
        matrix_g = torch.cat([g for g, _ in pairs], 1)
        torch.testing.assert_close(matrix.gram, matrix_g @ matrix_g.T / 7)
        torch.testing.assert_close(matrix.salience, sum((g * w).square().sum(1) for g, w in pairs) / 7)


def gradient(tensor):
    return tensor.grad.clone()


def weight(tensor):
    return tensor.detach()


def test_gates_are_derivatives_by_one_factor_per_unit_and_example():
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double(), data(3, count=5)
    grouping = find_groups(trace(model, x))
    found = EffectiveFilters(matrix="gates").matrices(grouping, [(x, y)], F.cross_entropy)["0"]

    def losses(z):
        return F.cross_entropy(model[2](torch.tanh(model[0](x)) * z), y, reduction="none")

    slopes = torch.autograd.functional.jacobian(losses, torch.ones(4).double())
    torch.testing.assert_close(found.gram, slopes.T @ slopes / 5)
    torch.testing.assert_close(found.salience, found.gram.diagonal())


def diagonal(*values, salience=None):
    gram = torch.diag(torch.tensor(values, dtype=torch.float64))
    return GradientMatrix(gram, gram.diagonal() if salience is None else torch.tensor(salience).double())


def test_effective_rank_and_predicted_error_by_hand():
    gram = diagonal(90.0, 9.0, 0.9, 0.1).gram
    assert [effective_rank(gram, tau) for tau in (0.5, 0.9, 0.91, 0.99, 0.995, 0.9999)] == [1, 1, 2, 2, 3, 4]
    assert effective_rank(torch.zeros(3, 3).double(), 0.99) == 0
    assert effective_rank(torch.ones(5, 5).double(), 1 - 1e-12) == 1
    assert predicted_error(gram, 1) == pytest.approx(0.05) and predicted_error(gram, 3) == pytest.approx(10 / 6)


def test_the_order_by_hand():
    """`a` is cheap and has two redundant filters, `b` one dear one, `c` none; then salience over all groups."""
    matrices = {
        "c": diagonal(7.0, 8.0),
        "b": diagonal(500.0, 600.0, 9.0),
        "a": diagonal(300.0, 0.2, 0.1, salience=[3.0, 0.5, 0.6]),
    }
    assert hierarchical_order(matrices, 0.99) == [
        ("a", 1), ("a", 2), ("b", 2), ("a", 0), ("c", 0), ("c", 1), ("b", 0), ("b", 1),
    ]  # fmt: skip


def test_equal_errors_go_to_the_most_redundant_group():
    matrices = {"a": diagonal(1.0, 0.0), "b": diagonal(1.0, 0.0, 0.0), "c": diagonal(2.0, 0.0)}
    assert [name for name, _ in hierarchical_order(matrices, 0.99)[:4]] == ["b", "a", "b", "c"]


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), sizes=st.lists(st.integers(1, 45), min_size=1, max_size=3), data=st.data())
def test_the_order_against_the_definition(seed, sizes, data):
    """Every step of the loop, from scratch; all of it above the caps, and the rest by salience."""
    tau, generator = data.draw(st.sampled_from([0.5, 0.9, 0.99])), torch.Generator().manual_seed(seed)
    matrices = {}
    for number, size in enumerate(sizes):
        rows = torch.randn(size, data.draw(st.integers(1, 8)), generator=generator).double() * (number + 1)
        matrices[str(number)] = GradientMatrix(rows @ rows.T, torch.rand(size, generator=generator).double())
    caps = {name: effective_rank(matrix.gram, tau) for name, matrix in matrices.items()}
    order, left = hierarchical_order(matrices, tau), {name: set(range(len(m.gram))) for name, m in matrices.items()}
    assert sorted(order) == sorted((name, unit) for name, units in left.items() for unit in units)
    place = 0
    while any(len(left[name]) > caps[name] for name in left):
        errors = {}
        for name in left:
            count = min(math.ceil(0.05 * len(matrices[name].gram)), len(left[name]) - caps[name])
            if count > 0:
                kept = sorted(left[name])
                errors[name] = (predicted_error(matrices[name].gram[kept][:, kept], count), count)
        name = order[place][0]
        error, count = errors[name]
        assert error <= min(entry[0] for entry in errors.values()) + 1e-12
        expected = sorted(left[name], key=lambda unit: float(matrices[name].salience[unit]))[:count]
        assert order[place : place + count] == [(name, unit) for unit in expected]
        left[name] -= set(expected)
        place += count
    saliences = [float(matrices[name].salience[unit]) for name, unit in order[place:]]
    assert saliences == sorted(saliences) and len(saliences) == sum(caps.values())


def test_caps_hold_while_redundancy_meets_the_budget():
    """Wide layers with copied filters: a mild budget cuts no group below its cap, a hard one all the same is met."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 24), nn.Sigmoid(), nn.Linear(24, 12), nn.Sigmoid(), nn.Linear(12, 3)).double()
    for layer, after in ((0, 2), (2, 4)):
        half = model[layer].out_features // 2
        model[layer].weight.data[half:], model[layer].bias.data[half:] = (
            model[layer].weight.data[:half].clone(), model[layer].bias.data[:half].clone(),
        )  # fmt: skip
        model[after].weight.data[:, half:] = model[after].weight.data[:, :half]
    batch = data(4)
    criterion = EffectiveFilters(tau=1 - 1e-6)
    caps = criterion.caps(find_groups(trace(model, batch[0])), [batch], F.cross_entropy)
    assert 3 < caps["0"] <= 12 and 3 < caps["2"] <= 6
    mild = prune(model, batch[0], criterion=criterion, loader=[batch], macs=0.5).kept
    assert all(count >= caps[name] for name, (count, _) in mild.items())
    hard = prune(model, batch[0], criterion=criterion, loader=[batch], macs=0.05).kept
    assert any(count < caps[name] for name, (count, _) in hard.items())


@pytest.mark.parametrize("targets", [torch.zeros(3, dtype=torch.int64), torch.tensor(1), [0, 1, 2, 0]])
def test_targets_that_are_no_examples(targets):
    model, (x, _) = redundant(), data(4, count=4)
    with pytest.raises(ValueError, match=r"targets as tensors \[N, ...\] with N = 4"):
        EffectiveFilters().order(find_groups(trace(model, x)), [(x, targets)], F.cross_entropy)


def test_a_loss_without_targets():
    model, (x, _) = redundant(), data(4, count=4)
    grouping = find_groups(trace(model, x))
    assert len(EffectiveFilters().order(grouping, [(x, None)], lambda output, _: output.square().mean())) == 6


@pytest.mark.parametrize("options", [{"tau": 0.0}, {"tau": 1.0}, {"matrix": "norms"}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="effective-filters, .*expected"):
        EffectiveFilters(**options)
