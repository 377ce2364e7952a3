"""The random criterion: seeded, uniform, blind to the network."""

import pytest
import torch
from torch.nn import functional as F

from pruning import Random, criterion, find_groups, prune
from pruning.testing import CriterionSuite, SmallNet


class TestRandom(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Random()


def score(grouping, **options):
    return criterion("random", **options).score(grouping, None, F.cross_entropy)


def test_a_seed_is_a_draw(traced):
    grouping = find_groups(traced("conv"))
    first, other = score(grouping), score(grouping, seed=1)
    assert all(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(first[name], again) for name, again in score(grouping, seed=0).items())


def test_the_global_seed_neither_matters_nor_moves(traced):
    grouping = find_groups(traced("conv"))
    torch.manual_seed(0)
    first, after = score(grouping), torch.get_rng_state()
    torch.manual_seed(1)
    assert all(torch.equal(value, first[name]) for name, value in score(grouping).items())
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), after)


def test_scores_are_uniform_and_differ_between_groups(traced):
    grouping = find_groups(traced("resnet"))
    drawn = torch.cat([torch.cat(list(score(grouping, seed=seed).values())) for seed in range(40)])
    ordered = drawn.sort().values
    assert float(ordered[0]) >= 0 and float(ordered[-1]) < 1 and drawn.unique().numel() == drawn.numel()
    ideal = torch.arange(1, len(drawn) + 1) / len(drawn)
    assert float((ordered - ideal).abs().max()) < 1.63 / len(drawn) ** 0.5  # Kolmogorov-Smirnov, 1 %


def test_it_prunes_without_data(image):
    result = prune(SmallNet(), image, criterion="random", macs=0.6)
    assert result.macs_after <= 0.6 * result.macs_before


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_bad_seeds(seed):
    with pytest.raises(ValueError, match="random, seed: expected an integer >= 0, got"):
        Random(seed)
