"""Analytic values of Taylor importance (structured_pruning §3)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import TaylorGate, TaylorWeight, find_groups, gate_uses, trace
from pruning.check import mask
from pruning.criteria.taylor import gate_gradient
from pruning.gates import gated
from pruning.testing import randomise


def groups(model, x):
    return find_groups(trace(model.double(), x))


def test_gate_gradient_is_gamma_dgamma_plus_beta_dbeta(build, batch):
    """dL/dz = gamma dL/dgamma + beta dL/dbeta exactly, for conv -> bn -> relu -> pool."""
    x, y = batch
    model = build("conv").double()
    grouping = groups(model, x)
    gradient = grouping.split(gate_gradient(grouping, (x,), y, F.cross_entropy)[0])["features.0"]
    F.cross_entropy(model.eval()(x), y).backward()
    norm = model.features[1]
    expected = norm.weight * norm.weight.grad + norm.bias * norm.bias.grad
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-10, atol=1e-14)


def test_example_gates_sum_to_the_shared_gate(build, batch):
    x, y = batch
    grouping = groups(build("concat"), x)
    own = gate_gradient(grouping, (x,), y, F.cross_entropy, gates=6)
    torch.testing.assert_close(own.sum(0), gate_gradient(grouping, (x,), y, F.cross_entropy)[0])


def test_on_a_loss_linear_in_the_gate_the_score_is_the_squared_change_of_removal(batch):
    x, _ = batch
    model = randomise(nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Conv2d(7, 1, 1)))
    grouping = groups(model, x)

    def loss(output, target):
        return output.mean()

    scores = TaylorGate(per="batch").score(grouping, [(x, None)], loss)["0"]
    full = gated(grouping, (x,), torch.ones(7).double())[0].mean()
    for unit in range(7):
        kept = {"0": tuple(i for i in range(7) if i != unit)}
        change = gated(grouping, (x,), mask(grouping, kept))[0].mean() - full
        torch.testing.assert_close(scores[unit], change.square().detach(), rtol=1e-9, atol=1e-14)


def test_example_form_squares_before_the_mean():
    """One unit, output w * x, loss = mean(output): gate gradients are w x_n. Batch form squares their mean."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0], [2.0]])
    model[1].weight.data = torch.tensor([[3.0, 1.0]])
    x = torch.tensor([[1.0], [-1.0], [3.0]]).double()
    grouping = groups(model, x)

    def loss(output, target):
        return output.mean()

    example = TaylorGate().score(grouping, [(x, None)], loss)["0"]
    torch.testing.assert_close(example, torch.tensor([9.0, 4.0]).double() * 11 / 3)
    both = TaylorGate(per="batch").score(grouping, [(x, None)], loss)["0"]
    torch.testing.assert_close(both, torch.tensor([9.0, 4.0]).double())
    parts = TaylorGate().score(grouping, [(x[:1], None), (x[1:], None)], loss)["0"]
    torch.testing.assert_close(parts, example)


def test_a_residual_stream_is_divided_by_its_uses(resnet20, batch):
    """n blocks per stage, width 16 + padding: the stem's channels are read by every block and the head."""
    x, y = batch
    grouping = groups(resnet20, x)
    uses = grouping.split(gate_uses(grouping))
    assert set(uses["conv1"].tolist()) == {10}
    assert set(uses["blocks.4.conv1"].tolist()) == {1}
    gradient = grouping.split(gate_gradient(grouping, (x,), y, F.cross_entropy)[0])["conv1"]
    scores = TaylorGate(per="batch").score(grouping, [(x, y)], F.cross_entropy)
    torch.testing.assert_close(scores["conv1"], gradient.square() / 10)


def test_weight_form_by_hand(build, batch):
    x, y = batch
    model = build("conv").double()
    grouping = groups(model, x)
    F.cross_entropy(model.eval()(x), y).backward()
    weight = model.features[4].weight
    product = (weight * weight.grad).detach().flatten(1)
    apart = TaylorWeight().score(grouping, [(x, y)], F.cross_entropy)["features.4"]
    joint = TaylorWeight(joint=True).score(grouping, [(x, y)], F.cross_entropy)["features.4"]
    torch.testing.assert_close(apart, product.square().sum(1))
    torch.testing.assert_close(joint, product.sum(1).square())


def test_frozen_parameters_can_still_be_scored(build, batch):
    model = build("conv").requires_grad_(False)
    scores = TaylorWeight().score(groups(model, batch[0]), [batch], F.cross_entropy)
    assert all(bool((score > 0).any()) for score in scores.values())
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("loss", [lambda o, t: o, lambda o, t: o.sum() * float("nan")])
def test_bad_losses(build, batch, loss):
    with pytest.raises(ValueError, match="loss: expected a finite scalar"):
        TaylorGate().score(groups(build("conv"), batch[0]), [batch], loss)


def test_bad_loader(build, batch):
    with pytest.raises(ValueError, match=r"batch 1: expected a pair"):
        TaylorGate().score(groups(build("conv"), batch[0]), [batch[0]], F.cross_entropy)


def test_example_gates_refuse_a_tensor_without_the_batch_first():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(torch.relu(self.a(x.transpose(0, 1)))).mean(0)

    x, y = torch.randn(3, 5, 4).double(), torch.zeros(3, dtype=torch.long)
    grouping = groups(TimeFirst(), x)
    with pytest.raises(ValueError, match="batch on axis 0"):
        TaylorGate().score(grouping, [(x, y)], F.cross_entropy)
    assert TaylorGate(per="batch").score(grouping, [(x, y)], F.cross_entropy)["a"].shape == (6,)
