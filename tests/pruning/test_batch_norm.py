"""Batch-norm statistics of a pruned network: averages over batches, and everything else as it was."""

import copy

import pytest
import torch
from torch import nn

from pruning import prune, reestimate_batch_norm


def network():
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(), nn.BatchNorm2d(4)).double()


def test_statistics_are_averages_over_batches_that_count_the_same():
    model = network()
    model[1].running_mean.fill_(9.0)
    images = [torch.randn(n, 3, 5, 5).double() for n in (2, 6)]
    assert reestimate_batch_norm(model, [(x, None) for x in images]) == 2
    with torch.no_grad():
        values = [model[0](x) for x in images]
    means = torch.stack([v.mean((0, 2, 3)) for v in values]).mean(0)
    variances = torch.stack([v.var((0, 2, 3)) for v in values]).mean(0)
    torch.testing.assert_close(model[1].running_mean, means, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model[1].running_var, variances, rtol=1e-12, atol=1e-12)
    # no dropout in between: the second one sees normalised values, so its means are the first one's offsets, 0
    torch.testing.assert_close(model[3].running_mean, torch.zeros(4).double(), rtol=0, atol=1e-12)


def test_modes_momenta_parameters_and_random_state_survive():
    model = network().train()
    model[3].eval()
    parameters, modes = copy.deepcopy(dict(model.named_parameters())), [m.training for m in model.modules()]
    state = torch.get_rng_state()
    reestimate_batch_norm(model, [((torch.ones(2, 3, 5, 5).double(),), None)])
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == modes
    assert (model[1].momentum, model[3].momentum) == (0.3, 0.1)
    assert all(torch.equal(p, parameters[name]) and p.grad is None for name, p in model.named_parameters())


@pytest.mark.parametrize(
    ("batches", "message"), [([], "at least one batch"), ([(torch.ones(2, 3, 5, 5).double(), 0), (1, 2)], "iterable")]
)
def test_a_failure_leaves_the_old_statistics(batches, message):
    model = network().train()
    reestimate_batch_norm(model, [(torch.randn(4, 3, 5, 5).double(), None)])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises((ValueError, TypeError), match=message):
        reestimate_batch_norm(model, batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and model[1].momentum == 0.3


def test_networks_without_statistics_are_left_alone():
    assert reestimate_batch_norm(nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), []) == 0


def test_a_cut_network_is_normalised_again(build, image):
    """On images like those whose statistics the original network has; by the variance behind a batch norm."""
    model, batches = build("conv"), [(torch.randn(64, 3, 8, 8), None) for _ in range(4)]
    reestimate_batch_norm(model, batches)
    result = prune(model, image, criterion="magnitude", macs=0.6).model.eval()

    def excess():
        with torch.no_grad():
            after = result.features[:6](torch.randn(64, 3, 8, 8))
        return abs(float((after.var((0, 2, 3)) / result.features[5].weight ** 2).mean()) - 1)

    assert excess() > 0.1
    reestimate_batch_norm(result, batches)
    assert excess() < 0.1
