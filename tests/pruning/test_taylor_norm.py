"""Taylor importance of batch norms (structured_pruning §3): gamma dgamma + beta dbeta is the gradient of a gate."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import TaylorGate, TaylorNorm, find_groups, trace
from pruning.testing import CriterionSuite, SmallNet


def groups(model, x, **options):
    return find_groups(trace(model.double(), x), **options)


class TestTaylorNorm(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorNorm()

    @pytest.fixture
    def grouping(self, build):
        return groups(build("resnet"), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double())


def test_one_batch_norm_equals_the_gate(build, batch):
    """conv -> bn -> relu -> pool: a gate after the batch norm and one after the pool have the same gradient."""
    grouping = groups(build("conv"), batch[0], ignore=["classifier.0", "features.4"])
    assert [group.name for group in grouping.groups] == ["features.0"]
    found = TaylorNorm().score(grouping, [batch, batch], F.cross_entropy)["features.0"]
    gate = TaylorGate(per="batch").score(grouping, [batch], F.cross_entropy)["features.0"]
    torch.testing.assert_close(found, gate, rtol=1e-9, atol=1e-16)


def test_a_stream_adds_its_batch_norms_before_squaring(build, batch):
    x, y = batch
    model = build("resnet").double()
    grouping = groups(model, x)
    found = TaylorNorm().score(grouping, [(x, y)], F.cross_entropy)
    F.cross_entropy(model.eval()(x), y).backward()
    member = {m.tensor: m for m in next(g for g in grouping.groups if g.name == "conv1").members}
    norms = [name for name in member if ".bn2.weight" in name or name == "bn1.weight"]
    assert len(norms) == 4
    for unit in range(8):
        total = torch.zeros(()).double()
        for name in norms:
            layer = model.get_submodule(name.removesuffix(".weight"))
            (position,) = member[name].indices[unit]
            total += (layer.weight * layer.weight.grad + layer.bias * layer.bias.grad)[position]
        torch.testing.assert_close(found["conv1"][unit], total.square().detach(), rtol=1e-9, atol=1e-16)


def test_minibatches_are_squared_apart(build, batch):
    x, y = batch
    grouping = groups(build("resnet"), x)
    parts = [(x[:2], y[:2]), (x[2:], y[2:])]
    one, two = (TaylorNorm().score(grouping, [part], F.cross_entropy)["conv1"] for part in parts)
    both = TaylorNorm().score(grouping, parts, F.cross_entropy)["conv1"]
    torch.testing.assert_close(both, (one + two) / 2)


def test_frozen_parameters_and_losses_without_gradient(build, batch):
    grouping = groups(build("resnet").requires_grad_(False), batch[0])
    assert all(bool((s > 0).any()) for s in TaylorNorm().score(grouping, [batch], F.cross_entropy).values())
    flat = TaylorNorm().score(grouping, [batch], lambda o, t: o.detach().mean())
    assert all(score.count_nonzero() == 0 for score in flat.values())


def test_groups_without_a_batch_norm_are_named(batch):
    with pytest.raises(ValueError, match=r"criterion 'taylor-norm' .* these groups have none: down; .*ignore="):
        TaylorNorm().score(groups(SmallNet(), batch[0]), [batch], F.cross_entropy)


def test_a_tensor_norm_over_one_feature_axis(batch):
    """BatchNorm1d on [N, C]."""
    x, y = torch.randn(6, 4).double(), torch.arange(6) % 3
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    grouping = groups(model, x)
    found = TaylorNorm().score(grouping, [(x, y)], F.cross_entropy)["0"]
    torch.testing.assert_close(found, TaylorGate(per="batch").score(grouping, [(x, y)], F.cross_entropy)["0"])
