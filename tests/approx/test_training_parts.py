"""Average, mixup, learning rate, best weights and divergence, each against its formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from approx import Divergence, Recipe, quantise
from approx.training.best import BestWeights
from approx.training.ema import WeightAverage
from approx.training.mixup import mixup


@settings(max_examples=30)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), decay=st.floats(0, 0.999))
def test_average_follows_the_formula(values: list[float], decay: float) -> None:
    model = nn.Linear(1, 1).double()
    model.register_buffer("count", torch.tensor(0))
    model.register_buffer("flag", torch.tensor(False))
    with torch.no_grad():
        model.weight.fill_(7.0)
    average, expected = WeightAverage(model, decay), 7.0
    for t, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(value)
        model.count += 3
        model.flag.fill_(t % 2 == 0)
        average.update_parameters(model)
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * value
    assert average.module.weight.item() == pytest.approx(expected, abs=1e-9)
    assert int(average.module.count) == 3 * len(values) and average.module.count.dtype == torch.int64
    assert bool(average.module.flag) == (len(values) % 2 == 1)


def test_average_of_running_statistics_and_of_an_integer_network() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    images = torch.randn(32, 1, 4, 4)
    average, expected = WeightAverage(model, 0.5), torch.zeros(2)
    for t in range(12):
        model(images + t)
        average.update_parameters(model)
        d = min(0.5, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * model[1].running_mean
    torch.testing.assert_close(average.module[1].running_mean, expected)
    assert int(average.module[1].num_batches_tracked) == 12 and not average.module.training
    network = quantise(model.eval(), [images])
    average = WeightAverage(network, 0.9)
    average.update_parameters(network)
    with torch.no_grad():
        assert torch.equal(average.module(images), network(images))
    for name, tensor in network.state_dict().items():
        assert torch.equal(average.module.state_dict()[name], tensor), name


@settings(max_examples=30)
@given(count=st.integers(1, 40), seed=st.integers(0, 2**40), update=st.integers(0, 10**6))
def test_every_mixed_image_lies_between_two_of_the_batch(count: int, seed: int, update: int) -> None:
    images = torch.eye(count).view(count, 1, count, 1)
    mixed = mixup(images, seed, update)
    assert torch.equal(mixed, mixup(images, seed, update))
    weights = mixed.view(count, count)  # row: how much of which image
    assert ((weights > 0).sum(1) <= 2).all() and torch.allclose(weights.sum(1), torch.ones(count))
    assert ((weights - weights.diagonal().diag() > 0).sum(0) <= 1).all()  # each is partner of one image at most


def test_mixing_weights_are_uniform_and_differ_between_steps() -> None:
    images = torch.eye(2000).view(2000, 2000, 1, 1)
    own = mixup(images, 0, 5).view(2000, 2000).diagonal()
    for quantile in (0.1, 0.5, 0.9):
        assert float((own < quantile).float().mean()) == pytest.approx(quantile, abs=0.04)
    assert not torch.equal(mixup(images[:9], 0, 5), mixup(images[:9], 0, 6))
    assert not torch.equal(mixup(images[:9], 0, 5), mixup(images[:9], 1, 5))
    before = torch.get_rng_state()
    mixup(images[:9], 0, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_learning_rate() -> None:
    recipe = Recipe(learning_rate=0.4)
    assert [recipe.rate(p, 0) for p in (0, 0.5, 1)] == pytest.approx([0.4, 0.2, 0.0])
    warm = Recipe(learning_rate=0.4, warmup_steps=4)
    assert [warm.rate(0, t) for t in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert warm.rate(0.5, 0) == pytest.approx(0.05)


@settings(max_examples=50)
@given(scores=st.lists(st.integers(-3, 3), min_size=1, max_size=20), patience=st.integers(1, 5))
def test_best_weights_are_the_first_of_the_highest(scores: list[int], patience: int) -> None:
    model, best, waited = nn.Linear(1, 1), BestWeights(patience), 0
    for t, score in enumerate(scores):
        with torch.no_grad():
            model.weight.fill_(t)
        waited = 0 if score > max(scores[:t], default=-math.inf) else waited + 1
        best.offer(model, t, score)
        assert best.exhausted == (waited >= patience)
        other = BestWeights(patience)
        other.load_state_dict(best.state_dict())
        assert other.exhausted == best.exhausted and other.scores == best.scores
    assert int(best.weights["weight"]) == scores.index(max(scores))


def test_divergence_is_kullback_leibler_from_the_teacher() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    teacher, student = (lambda x: logits[x]), (lambda x: torch.zeros(len(x), 2))
    batches = [(torch.tensor([0]), torch.tensor([9])), (torch.tensor([1, 1]), torch.tensor([9, 9]))]
    expected = (0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)) / 3
    assert Divergence(teacher, batches)(student) == pytest.approx(expected)
    shifted = Divergence(teacher, batches)(lambda x: logits[x] + 5)
    assert shifted == pytest.approx(0, abs=1e-6)
