"""Taylor importance of activations (structured_pruning §4): closed forms, both variants, several places."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import TaylorActivation, TaylorGate, criterion, find_groups, gate_uses, trace
from pruning.criteria.taylor import gate_gradient
from pruning.criteria.taylor_activation import activation_products
from pruning.selectors.scale import divided
from pruning.testing import CriterionSuite, randomise


class TestPositionMean(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorActivation()


class TestElement(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorActivation("element", rescale=False)


def groups(model, x):
    return find_groups(trace(model.double(), x))


def mean(output, target):
    return output.mean()


def weighted_maps(k):
    """Identity on the input maps, then the sum of k_c times map c: with `mean`, L = sum of k_c mean(a_c)."""
    count = len(k)
    model = nn.Sequential(nn.Conv2d(count, count, 1, bias=False), nn.Conv2d(count, 1, 1, bias=False))
    model[0].weight.data = torch.eye(count)[:, :, None, None]
    model[1].weight.data = torch.tensor(k).reshape(1, -1, 1, 1)
    return model


def test_closed_form():
    """L = sum of k_c mean(a_c), one example: Theta = |k_c mean(a_c)| / M."""
    k, x = [2.0, -3.0, 0.5], torch.randn(1, 3, 4, 5).double()
    grouping = groups(weighted_maps(k), torch.ones(2, 3, 4, 5).double())
    found = TaylorActivation(rescale=False).score(grouping, [(x, None)], mean)["0"]
    expected = (torch.tensor(k, dtype=torch.float64) * x[0].mean((1, 2))).abs() / 20
    torch.testing.assert_close(found, expected)


def test_the_variants_differ_where_signs_cancel():
    """A map of +v and -v under a constant gradient: 0 after the mean, v / M^2 times k per element before it."""
    x = torch.tensor([[[[3.0, -3.0]], [[1.0, 1.0]]]], dtype=torch.float64)
    grouping = groups(weighted_maps([2.0, 2.0]), torch.ones(2, 2, 1, 2).double())
    paper = TaylorActivation(rescale=False).score(grouping, [(x, None)], mean)["0"]
    code = TaylorActivation("element", rescale=False).score(grouping, [(x, None)], mean)["0"]
    torch.testing.assert_close(paper, torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(code, torch.tensor([3.0, 1.0], dtype=torch.float64))


def test_the_absolute_value_comes_before_the_mean_over_examples():
    """Two examples of opposite sign do not cancel, and how they are batched does not matter."""
    x = torch.tensor([1.0, -3.0], dtype=torch.float64).reshape(2, 1, 1, 1).repeat(1, 2, 1, 1)
    x[:, 1] = 1.0
    grouping = groups(weighted_maps([1.0, 1.0]), x)
    judge = TaylorActivation(rescale=False)
    together = judge.score(grouping, [(x, None)], mean)["0"]
    torch.testing.assert_close(together, torch.tensor([2.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(judge.score(grouping, [(x[:1], None), (x[1:], None)], mean)["0"], together)


def test_rescaling_removes_the_scale_of_a_layer(build, batch):
    grouping = groups(build("conv"), batch[0])
    raw = TaylorActivation(rescale=False).score(grouping, [batch], F.cross_entropy)
    scaled = TaylorActivation().score(grouping, [batch], F.cross_entropy)
    tenfold = TaylorActivation().score(grouping, [batch], lambda o, t: 10 * F.cross_entropy(o, t))
    for name, score in scaled.items():
        torch.testing.assert_close(score, raw[name] / raw[name].square().sum().sqrt())
        torch.testing.assert_close(score, divided(raw[name], "l2"))
        torch.testing.assert_close(score, tenfold[name])


def test_a_loss_without_gradient_scores_zero(build, batch):
    grouping = groups(build("conv"), batch[0])
    for loss in (lambda o, t: o.detach().mean(), lambda o, t: 0 * o.mean()):
        scores = TaylorActivation().score(grouping, [batch], loss)
        assert all(score.count_nonzero() == 0 for score in scores.values())


@pytest.mark.parametrize("name", ["resnet", "concat", "nhwc", "self-residual", "matmul", "tied"])
def test_products_add_up_to_the_gradient_of_example_gates(build, batch, name):
    """Over positions and places, activation times gradient is dL/dz of a gate per example."""
    x, y = batch
    grouping = groups(build(name), x)
    total = torch.zeros(6, grouping.units + 1).double()
    for node, product in activation_products(grouping, (x,), y, F.cross_entropy).items():
        for axis, units in grouping.sites[node]:
            flat = product.movedim(axis, 1).reshape(6, len(units), -1).sum(2)
            total.index_add_(1, torch.where(units < 0, grouping.units, units), flat)
    expected = gate_gradient(grouping, (x,), y, F.cross_entropy, gates=6)
    torch.testing.assert_close(total[:, :-1], expected, rtol=1e-9, atol=1e-13)


def test_one_position_and_one_example_agree_with_the_gate(batch):
    """A unit with one position: Theta^2 of one example is the gate's score."""
    x, y = torch.randn(1, 7).double(), torch.tensor([2])
    grouping = groups(nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 4)), torch.ones(2, 7).double())
    theta = TaylorActivation(rescale=False).score(grouping, [(x, y)], F.cross_entropy)["0"]
    torch.testing.assert_close(theta.square(), TaylorGate().score(grouping, [(x, y)], F.cross_entropy)["0"])


def test_a_flattened_map_still_has_all_its_positions(build, batch):
    """conv -> flatten -> linear: the four features of a map are its positions."""
    x, y = batch
    model = build("conv").double()
    grouping = groups(model, x)
    found = TaylorActivation(rescale=False).score(grouping, [(x, y)], F.cross_entropy)["features.4"]
    maps = model.eval().features(x).detach().requires_grad_()
    gradient = torch.autograd.grad(6 * F.cross_entropy(model.classifier(maps.flatten(1)), y), maps)[0]
    expected = (maps * gradient).mean((2, 3)).abs().mean(0)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-14)


def test_a_stream_is_the_mean_over_all_its_positions(build, batch):
    """self-residual: 36 positions where the convolution reads the stem, 1 where the head reads the pooled sum."""
    x, y = batch
    model = build("self-residual").double()
    grouping = groups(model, x)
    group = grouping.groups[0]
    assert set(grouping.split(gate_uses(grouping))[group.name].tolist()) == {2}
    model.eval()
    first = model.stem(x).detach().requires_grad_()
    last = F.relu(first + model.norm(model.conv(first))).sum((2, 3))
    loss = 6 * F.cross_entropy(model.head(last), y)
    one, two = torch.autograd.grad(loss, (first, last))
    products = (first * one).sum((2, 3)), last * two
    paper, code = (TaylorActivation(stage, rescale=False) for stage in ("position mean", "element"))
    torch.testing.assert_close(
        paper.score(grouping, [(x, y)], F.cross_entropy)[group.name], (sum(products) / 37).abs().mean(0).detach()
    )
    apart = ((first * one).abs().sum((2, 3)) + (last * two).abs()) / 37
    torch.testing.assert_close(code.score(grouping, [(x, y)], F.cross_entropy)[group.name], apart.mean(0).detach())


@settings(max_examples=25)
@given(seed=st.integers(0, 99), split=st.integers(1, 4))
def test_elementwise_is_never_smaller_and_batches_do_not_matter(seed, split):
    x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(seed)).double()
    for height, equal in ((4, False), (1, True)):
        grouping, data = pointwise(height), x[..., :height, :height]
        paper, code = (
            TaylorActivation(stage, rescale=False).score(grouping, [(data, None)], sine)["0"]
            for stage in ("position mean", "element")
        )
        assert bool((code >= paper * (1 - 1e-12)).all())
        assert torch.allclose(code, paper, rtol=1e-12, atol=0) == equal
        parts = [(data[:split], None), (data[split:], None)]
        torch.testing.assert_close(TaylorActivation(rescale=False).score(grouping, parts, sine)["0"], paper)


def sine(output, target):
    return output.sin().mean()


@cache
def pointwise(height):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    return groups(randomise(model), torch.ones(2, 2, height, height).double())


def test_bad_input(build, batch):
    with pytest.raises(ValueError, match="abs_stage: expected 'position mean' or 'element', got 'batch'"):
        criterion("taylor-activation", abs_stage="batch")
    with pytest.raises(ValueError, match="finite scalar"):
        TaylorActivation().score(groups(build("conv"), batch[0]), [batch], lambda o, t: o)


def test_a_tensor_without_the_batch_first_is_refused():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(torch.relu(self.a(x.transpose(0, 1)))).mean(0)

    x, y = torch.randn(3, 5, 4).double(), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="batch on axis 0"):
        TaylorActivation().score(groups(TimeFirst(), x), [(x, y)], F.cross_entropy)
