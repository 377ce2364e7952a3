"""Infinite feature selection (structured_pruning §6)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pruning.criteria.inf_fs import inf_fs, path_scores, spearman


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_golden_graph_of_ones():
    """A = 1, r = 0.9 / 2: [(I - rA)^-1 - I] 1 = (9, 9)."""
    torch.testing.assert_close(path_scores(torch.ones(2, 2).double()), double([9.0, 9.0]))


def test_scores_are_the_sum_over_paths_of_every_length():
    edges = double([[0.2, 1.0, 0.5], [1.0, 0.0, 0.3], [0.5, 0.3, 0.9]])
    step = 0.9 / torch.linalg.eigvalsh(edges).max() * edges
    total, walk = torch.zeros(3).double(), torch.ones(3).double()
    for _ in range(400):
        walk = step @ walk
        total += walk
    torch.testing.assert_close(path_scores(edges), total)


def test_two_features_by_hand():
    """Uncorrelated ranks, spreads 2 and 1 (unbiased): A = [[.5*2, .5*2 + .5], [., .5*1]]."""
    features = double([[2, 1], [-2, 1], [2, -1], [-2, -1]]) * (3**0.5 / 2)
    torch.testing.assert_close(features.std(0), double([2.0, 1.0]))
    torch.testing.assert_close(inf_fs(features), path_scores(double([[1.0, 1.5], [1.5, 0.5]])))
    torch.testing.assert_close(inf_fs(features, alpha=0), path_scores(double([[0.0, 1.0], [1.0, 0.0]])))


@settings(max_examples=50)
@given(rows=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=3, max_size=9))
def test_rank_correlation_with_ties_is_scipys(rows):
    features = double(rows)
    varied = features.std(0) > 0
    if int(varied.sum()) == 3:
        torch.testing.assert_close(spearman(features), torch.from_numpy(spearmanr(features.numpy()).statistic))
    assert bool(spearman(features)[~varied].isnan().all())
    assert bool(spearman(features)[varied][:, varied].isfinite().all())


def test_a_dead_feature_scores_zero_and_a_dead_layer_too():
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(1)).double()
    features[:, 2] = 3.0
    scores = inf_fs(features)
    assert scores[2] == 0 and bool((scores[[0, 1, 3]] > 0).all())
    assert inf_fs(torch.ones(5, 3)).tolist() == [0, 0, 0]


def test_permuting_features_permutes_scores():
    features = torch.randn(12, 6, generator=torch.Generator().manual_seed(2)).double()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(inf_fs(features[:, order]), inf_fs(features)[order])


@pytest.mark.parametrize("bad", [torch.ones(1, 3), torch.ones(4), torch.full((3, 2), float("nan"))])
def test_bad_features(bad):
    with pytest.raises(ValueError, match="inf_fs: expected"):
        inf_fs(bad)
