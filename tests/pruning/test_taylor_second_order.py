"""Second-order Taylor importance (structured_pruning §3): exact on quadratics, Hessians of gates, Fisher."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import TaylorSecondOrder, criterion, find_groups, gate_uses, trace
from pruning.check import mask
from pruning.criteria.taylor import gate_gradient
from pruning.criteria.taylor_second_order import gate_curvature
from pruning.gates import gated
from pruning.testing import CriterionSuite, randomise


class TestExact(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorSecondOrder()


class TestFisher(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorSecondOrder("fisher")


def groups(model, x):
    return find_groups(trace(model.double(), x))


def half_square(output, target):
    return (output - target).square().sum(1).mean() / 2


@pytest.fixture
def quadratic(batch):
    """A network whose output is linear in its seven gates, so that a squared loss is quadratic in them."""
    model = randomise(nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(), nn.Linear(252, 2)))
    return groups(model, batch[0])


def test_on_a_quadratic_the_score_is_the_squared_change_of_removal(quadratic, batch):
    x, target = batch[0], torch.randn(6, 2).double()
    scores = TaylorSecondOrder().score(quadratic, [(x, target)], half_square)["0"]
    full = half_square(gated(quadratic, (x,), torch.ones(7).double())[0], target)
    for unit in range(7):
        kept = {"0": tuple(i for i in range(7) if i != unit)}
        change = half_square(gated(quadratic, (x,), mask(quadratic, kept))[0], target) - full
        torch.testing.assert_close(scores[unit], change.square().detach(), rtol=1e-9, atol=1e-14)


def test_it_is_the_change_of_the_loss_of_all_batches(quadratic, batch):
    x, target = batch[0], torch.randn(6, 2).double()
    parts = [(x[:1], target[:1]), (x[1:4], target[1:4]), (x[4:], target[4:])]
    for hessian in ("exact", "fisher"):
        judge = TaylorSecondOrder(hessian)
        together = judge.score(quadratic, [(x, target)], half_square)["0"]
        torch.testing.assert_close(judge.score(quadratic, parts, half_square)["0"], together)


def test_by_hand():
    """Outputs p_i x with p = (3, 2), x = (1, -1, 3), loss mean f^2 / 2: E x^2 = 11/3.

    f = 5x at z = 1. Exact: g_i = 5 p_i E x^2, H_i = p_i^2 E x^2. Fisher: mean square of 5 p_i x^2, E x^4 = 83/3.
    """
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0], [2.0]])
    model[1].weight.data = torch.tensor([[3.0, 1.0]])
    x = torch.tensor([[1.0], [-1.0], [3.0]]).double()
    grouping, p = groups(model, x), torch.tensor([3.0, 2.0]).double()
    exact = TaylorSecondOrder().score(grouping, [(x, torch.zeros(3, 1))], half_square)["0"]
    torch.testing.assert_close(exact, (p.square() * 11 / 6 - 5 * p * 11 / 3).square())
    fisher = TaylorSecondOrder("fisher").score(grouping, [(x, torch.zeros(3, 1))], half_square)["0"]
    torch.testing.assert_close(fisher, (25 * p.square() * 83 / 6 - 5 * p * 11 / 3).square())


def test_fisher_is_exact_when_residuals_are_one(batch):
    """Linear output, targets one away: the squared gradient of an example is its second derivative."""
    x = batch[0]
    model = randomise(nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(), nn.Linear(252, 1)))
    grouping = groups(model, x)
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0]).double()[:, None]
    target = gated(grouping, (x,), torch.ones(7).double())[0].detach() + signs
    exact, fisher = (TaylorSecondOrder(h).score(grouping, [(x, target)], half_square)["0"] for h in ("exact", "fisher"))
    torch.testing.assert_close(fisher, exact, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", ["conv", "resnet", "concat", "nhwc"])
def test_curvature_is_the_diagonal_of_the_hessian(build, batch, name):
    x, y = batch
    grouping = groups(build(name), x)
    gradient, curvature = gate_curvature(grouping, (x,), y, F.cross_entropy)
    torch.testing.assert_close(gradient, gate_gradient(grouping, (x,), y, F.cross_entropy)[0])
    h, one = 1e-4, torch.ones(grouping.units).double()
    with torch.no_grad():
        for unit in range(0, grouping.units, 5):
            step = h * torch.eye(grouping.units)[unit].double()
            up, mid, down = (F.cross_entropy(gated(grouping, (x,), z)[0], y) for z in (one + step, one, one - step))
            assert float(curvature[unit]) == pytest.approx(float(up - 2 * mid + down) / h**2, rel=1e-3, abs=2e-6)
    assert float(curvature.abs().max()) > 1e-4


def test_a_stream_is_divided_by_its_uses(build, batch):
    x, y = batch
    grouping = groups(build("self-residual"), x)
    gradient, curvature = gate_curvature(grouping, (x,), y, F.cross_entropy)
    assert set(gate_uses(grouping).tolist()) == {2}
    scores = TaylorSecondOrder().score(grouping, [(x, y)], F.cross_entropy)
    torch.testing.assert_close(scores[grouping.groups[0].name], (curvature / 2 - gradient).square() / 2)


def test_losses_without_first_or_second_derivatives(build, batch):
    grouping = groups(build("conv"), batch[0])
    for hessian in ("exact", "fisher"):
        flat = TaylorSecondOrder(hessian).score(grouping, [batch], lambda o, t: o.detach().mean())
        assert all(score.count_nonzero() == 0 for score in flat.values())
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 2, bias=False))
    x = torch.randn(3, 4).double()
    linear = groups(model, x)
    expected = gate_gradient(linear, (x,), None, lambda o, t: o.mean())[0].square()
    found = TaylorSecondOrder().score(linear, [(x, None)], lambda o, t: o.mean())["0"]
    torch.testing.assert_close(found, expected)


def test_through_attention():
    """Fused attention has no second derivative; the exact form asks for the one that has."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.up, self.down, self.head = (nn.Linear(*s) for s in ((8, 24), (8, 12), (12, 8), (8, 3)))

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            x = x + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
            x = x + self.down(F.gelu(self.up(x)))
            return self.head(F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0, 0])

    x, y = torch.randn(4, 5, 8).double(), torch.arange(4) % 3
    grouping = groups(Attention(), x)
    _, curvature = gate_curvature(grouping, (x,), y, F.cross_entropy)
    found = grouping.split(curvature)["up"]
    assert found.shape == (12,) and bool((found != 0).all())


def test_what_cannot_be_differentiated_twice_is_refused(build, batch):
    def loss(output, target):
        return torch.cdist(output, torch.zeros(3, 5).double(), p=3).square().mean()

    grouping = groups(build("conv"), batch[0])
    with pytest.raises(ValueError, match="differentiating the loss twice failed .*use hessian='fisher'"):
        TaylorSecondOrder().score(grouping, [batch], loss)
    assert all(bool((s > 0).all()) for s in TaylorSecondOrder("fisher").score(grouping, [batch], loss).values())


def test_bad_option():
    with pytest.raises(ValueError, match="hessian: expected 'exact' or 'fisher', got 'hutchinson'"):
        criterion("taylor-second-order", hessian="hutchinson")
