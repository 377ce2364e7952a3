"""SOSP-I: golden values, Gauss-Newton against the Hessian, greedy choice (structured_pruning §9); set criteria."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, prune, trace
from pruning.criteria import SetCriterion, SospH, SospI
from pruning.criteria.derivatives import jacobian
from pruning.criteria.sosp_i import greedy_order, loss_derivatives
from pruning.producers import producers
from pruning.testing import CriterionSuite, randomise


class TestSospI(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return SospI()


class TestSospIExclude(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return SospI(batch_norm="exclude")


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def linear_net(weights, head):
    """x = 1 -> the given weights -> head."""
    model = nn.Sequential(nn.Linear(1, len(weights), bias=False), nn.Linear(len(weights), len(head), bias=False))
    model.double()[0].weight.data, model[1].weight.data = double(weights)[:, None], double(head)
    return find_groups(trace(model, torch.ones(2, 1).double())), [(torch.ones(3, 1).double(), None)]


def increase(saliency, chosen):
    """λ(M): the diagonal once, every ordered pair once."""
    return sum(float(saliency[i, j]) for i in chosen for j in chosen)


def test_golden_values():
    """H = [[2, 1], [1, 3]], θ = (1, -1), g = 0: Q_12 = .5 and λ({1, 2}) = 3.5, though the loss changes by 1.5."""
    hessian, theta = double([[2.0, 1.0], [1.0, 3.0]]), double([1.0, -1.0])

    def loss(output, target):
        return ((((output - theta) @ hessian) * (output - theta)).sum(1) / 2).mean()

    grouping, batches = linear_net([1.0, -1.0], [[1.0, 0.0], [0.0, 1.0]])
    saliency = SospI().saliency(grouping, batches, loss)
    torch.testing.assert_close(saliency, double([[1.0, 0.5], [0.5, 1.5]]))
    assert increase(saliency, [0, 1]) == pytest.approx(3.5)
    assert float(loss(torch.zeros(1, 2).double(), None)) == pytest.approx(1.5)


def test_two_redundant_structures_are_not_both_removed():
    """Units 0 and 1 are copies: each alone is cheap, both together are not, which no ranking of units can say."""
    grouping, batches = linear_net([1.0, 1.0, 1.3], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

    def loss(output, target):
        return ((output - double([2.0, 1.3])) ** 2).sum(1).mean() / 2

    saliency = SospI().saliency(grouping, batches, loss)
    torch.testing.assert_close(saliency, double([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0.845]]))
    assert saliency.diagonal().argsort(stable=True).tolist() == [0, 1, 2]
    assert SospI().order(grouping, batches, loss) == [("0", 0), ("0", 2), ("0", 1)]
    by_rank = SospH().score(grouping, batches, loss)["0"]
    torch.testing.assert_close(by_rank, double([1.0, 1.0, 0.845]))


@settings(max_examples=60)
@given(size=st.integers(1, 6), seed=st.integers(0, 999), coarse=st.booleans())
def test_greedy_choice_against_the_definition(size, seed, coarse):
    """Every step adds the structure with the smallest λ(M + s), computed from scratch."""
    root = torch.rand(size, size, generator=torch.Generator().manual_seed(seed)).double()
    saliency = (4 * (root + root.T)).round() if coarse else root + root.T
    order = greedy_order(saliency.clone())
    assert sorted(order) == list(range(size))
    for step, chosen in enumerate(order):
        values = {s: increase(saliency, [*order[:step], s]) for s in range(size) if s not in order[:step]}
        assert values[chosen] <= min(values.values()) + 1e-12
        if coarse:
            assert chosen == min(s for s, value in values.items() if value == min(values.values()))


def network():
    torch.manual_seed(7)
    return randomise(
        nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.Flatten())
        .append(nn.Linear(8, 4))
        .double()
    ).eval()


def scaled(model, x):
    """Outputs as a function of one factor per filter, by hand."""

    def outputs(z):
        hidden = model[2](model[1](model[0](x)) * z[:3].reshape(3, 1, 1))
        return model[5](model[4](model[3](hidden) * z[3:].reshape(2, 1, 1)))

    return outputs


def test_gauss_newton_is_the_hessian_of_the_outputs_loss():
    """Q against the formula with explicit Jacobians and R = diag(p) - p pᵀ, over two batches."""
    model, x, y = network(), torch.randn(5, 1, 4, 4).double(), torch.tensor([0, 1, 2, 3, 1])
    saliency = SospI().saliency(find_groups(trace(model, x)), [(x[:2], y[:2]), (x[2:], y[2:])], F.cross_entropy)
    z = torch.ones(5).double()
    v = torch.autograd.functional.jacobian(scaled(model, x), z)
    slope = torch.autograd.functional.jacobian(lambda z: F.cross_entropy(scaled(model, x)(z), y), z)
    p = model(x).softmax(1).detach()
    r = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    expected = torch.diag(slope.abs()) + torch.einsum("nds,nde,net->st", v, r, v).abs() / 10
    torch.testing.assert_close(saliency, expected, rtol=1e-9, atol=1e-13)


def test_gauss_newton_is_the_hessian_of_a_linear_model_with_squares():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double(), torch.randn(6, 3).double()
    y, grouping = torch.randn(6, 2).double(), find_groups(trace(model, x))
    saliency = SospI().saliency(grouping, [(x, y)], F.mse_loss)

    def loss(z):
        return F.mse_loss(model[1](model[0](x) * z), y)

    hessian = torch.autograd.functional.hessian(loss, torch.ones(4).double())
    slope = torch.autograd.functional.jacobian(loss, torch.ones(4).double())
    torch.testing.assert_close(saliency, torch.diag(slope.abs()) + hessian.abs() / 2)


def test_jacobian_and_loss_derivatives():
    model, x, y = network(), torch.randn(3, 1, 4, 4).double(), torch.tensor([0, 1, 2])
    grouping = find_groups(trace(model, x))
    outputs, v = jacobian(grouping, (x,), producers(grouping))
    torch.testing.assert_close(outputs, model(x).detach())
    torch.testing.assert_close(v, torch.autograd.functional.jacobian(scaled(model, x), torch.ones(5).double()))
    first, second = loss_derivatives(grouping.trace, outputs, y, lambda o, t: o[:, 0].mean())
    assert first.tolist() == [[1, 0, 0, 0]] * 3 and not second.any()


def test_an_output_that_is_no_vector_is_refused():
    grouping = find_groups(trace(nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1)), torch.randn(2, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"one tensor \[N, D\], got shapes \[\[2, 2, 4, 4\]\]"):
        SospI().score(grouping, [(torch.randn(2, 1, 4, 4), None)], lambda o, t: o.mean())


class Fixed(SetCriterion):
    """A given order."""

    name, needs_data, comparable = "fixed", False, True

    def __init__(self, units: Sequence[tuple[str, int]]) -> None:
        self.units = units

    def order(self, grouping, batches, loss):
        return self.units


def test_an_order_is_cut_at_the_budget(build, image):
    """Units go in the order given, until the budget is met (and hardly more); rounding and minimum stay in force."""
    sizes = {"features.0": 8, "features.4": 12, "classifier.0": 10}
    units = [(name, unit) for name, size in sizes.items() for unit in range(size)]
    order = [units[i] for i in torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()]
    result = prune(build("conv"), image, criterion=Fixed(order), macs=0.5)
    gone = {name: size - kept for name, (kept, size) in result.kept.items()}
    total = sum(gone.values())
    assert gone == {name: sum(group == name for group, _ in order[:total]) for name in sizes}
    kept = {axis.tensor: axis.kept for axis in result.plan.axes if axis.axis == 0}
    assert kept["features.0.weight"] == tuple(u for u in range(8) if ("features.0", u) not in order[:total])
    rounded = prune(build("conv"), image, criterion=Fixed(order), macs=0.5, round_to=4, min_keep=4)
    assert all(count % 4 == 0 or count == size for count, size in rounded.kept.values())


def test_an_incomplete_order_is_a_bug_of_the_criterion(build, image):
    units = [(name, unit) for name, unit in itertools.product(["features.0"], range(8))]
    for wrong in (units, units + units[:1]):
        with pytest.raises(AssertionError, match="'fixed': the order has"):
            prune(build("conv"), image, criterion=Fixed(wrong))


def test_bad_options():
    with pytest.raises(ValueError, match="sosp-i, batch_norm: expected"):
        SospI("drop")
