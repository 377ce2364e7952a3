"""Geometric median: distances by hand, replaceable filters first, what the filter of a group is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import GeometricMedian, Magnitude, find_groups, trace
from pruning.criteria.filters import filters
from pruning.criteria.geometric_median import _cosine, _euclidean
from pruning.testing import CriterionSuite


class TestEuclidean(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return GeometricMedian()


class TestCosine(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return GeometricMedian("cosine")


def score(grouping, distance="l2"):
    return GeometricMedian(distance).score(grouping, None, F.cross_entropy)


def two_layers(rows):
    model = nn.Sequential(nn.Linear(len(rows[0]), len(rows)), nn.ReLU(), nn.Linear(len(rows), 2))
    model[0].weight.data = torch.tensor(rows)
    return find_groups(trace(model, torch.ones(2, len(rows[0]))))


def test_distances_by_hand():
    """Points (0,0), (3,4), (0,4): sides 5, 4, 3. The bias is no part of a filter."""
    rows = [[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]]
    torch.testing.assert_close(score(two_layers(rows))["0"], torch.tensor([9.0, 8.0, 7.0], dtype=torch.float64))
    torch.testing.assert_close(
        score(two_layers(rows), "cosine")["0"], torch.tensor([2.0, 1.2, 1.2], dtype=torch.float64)
    )


def test_cosine_ignores_length_and_knows_opposites():
    found = score(two_layers([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]), "cosine")["0"]
    torch.testing.assert_close(found, torch.tensor([0 + 1 + 2, 0 + 1 + 2, 3.0, 2 + 2 + 1], dtype=torch.float64))


def test_the_median_goes_first_where_the_norm_takes_the_smallest():
    """Filters on a line at 1, 5, 6, 7, 30: the middle one is replaceable, the smallest is not."""
    grouping = two_layers([[1.0], [5.0], [6.0], [7.0], [30.0]])
    assert int(score(grouping)["0"].argmin()) == 2
    assert int(Magnitude(scope="filter").score(grouping, None, F.cross_entropy)["0"].argmin()) == 0


def test_small_differences_far_from_the_origin():
    """1, 2 and 3 thousandths apart, a million away: as if they were near."""
    far = torch.tensor([[1e6 + 1e-3, 1e6], [1e6, 1e6], [1e6 - 2e-3, 1e6]], dtype=torch.float64)
    expected = torch.tensor([4e-3, 3e-3, 5e-3], dtype=torch.float64)
    torch.testing.assert_close(_euclidean(far).sum(1), expected, rtol=1e-6, atol=0)
    assert score(two_layers([[1e4, 1e4], [1e4, 1e4], [1e4, 1e4]]))["0"].tolist() == [0.0, 0.0, 0.0]
    assert _euclidean(torch.randn(40, 9).double()).diagonal().count_nonzero() == 0


def test_a_group_of_one_scores_zero():
    assert _euclidean(torch.ones(1, 3).double()).sum(1).tolist() == [0.0]
    assert _cosine(torch.ones(1, 3).double()).sum(1).tolist() == [0.0]


rows = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.integers(-9, 9), min_size=width, max_size=width), min_size=1, max_size=7)
)


@settings(max_examples=150)
@given(rows=rows)
def test_distances_against_loops(rows):
    matrix = torch.tensor(rows, dtype=torch.float64)

    def cosine(a, b):
        lengths = float(a.norm() * b.norm())
        return 1 - float(a @ b) / lengths if lengths else 1.0

    for measure, slow in ((_euclidean, lambda a, b: float((a - b).norm())), (_cosine, cosine)):
        expected = [sum(slow(a, b) for j, b in enumerate(matrix) if j != i) for i, a in enumerate(matrix)]
        torch.testing.assert_close(
            measure(matrix).sum(1), torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-6
        )


def test_a_residual_stream_has_the_filters_of_all_its_producers(traced):
    """The stem and the last convolution of every block add into the stream of an option A network."""
    grouping = find_groups(traced("resnet"))
    group = next(group for group in grouping.groups if group.name == "conv1")
    tensors = dict(grouping.trace.model.named_parameters())
    producers = [m for m in group.members if m.axis == 0 and m.tensor in tensors and tensors[m.tensor].ndim == 4]
    assert [m.tensor for m in producers] == ["conv1.weight", *(f"blocks.{i}.conv2.weight" for i in range(3))]
    by_hand = torch.stack(
        [
            torch.cat([tensors[m.tensor].detach()[m.indices[u][0]].flatten() for m in producers])
            for u in range(group.size)
        ]
    ).double()
    assert torch.equal(filters(grouping)["conv1"], by_hand)
    torch.testing.assert_close(score(grouping)["conv1"], torch.cdist(by_hand, by_hand).sum(1))


def test_the_filter_of_a_raw_product_is_its_column(traced):
    """x @ middle: `middle` consumes along axis 0 and computes along axis 1."""
    grouping = find_groups(traced("matmul"))
    tensors, found = dict(grouping.trace.model.named_parameters()), filters(grouping)
    assert torch.equal(found["first"], tensors["first.weight"].detach().double())
    column = next(group for group in grouping.groups if any(m.tensor == "offset" for m in group.members))
    assert torch.equal(found[column.name], tensors["middle"].detach().double().T)


def test_a_unit_that_is_a_whole_group_owns_several_filters(traced):
    """Depthwise with multiplier 2 after 8 channels of 3 x 3 x 3: rows are 27 + 2 * 9 + more."""
    grouping = find_groups(traced("grouped"))
    whole = next(group for group in grouping.groups if any(m.tensor == "depthwise.weight" for m in group.members))
    member = next(m for m in whole.members if m.tensor == "depthwise.weight" and m.axis == 0)
    assert len(member.indices[0]) == 2
    sizes = {m.tensor: len(m.indices[0]) for m in whole.members if m.axis == 0 and m.tensor.endswith("weight")}
    tensors = dict(grouping.trace.model.named_parameters())
    width = sum(n * tensors[name][0].numel() for name, n in sizes.items() if tensors[name].ndim > 1)
    assert filters(grouping)[whole.name].shape == (whole.size, width)


def test_a_group_without_filters_is_named():
    class TokenNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.head = nn.Parameter(torch.randn(1, 6)), nn.Linear(9, 2)

        def forward(self, x):
            return self.head(torch.cat([x, self.token.expand(len(x), 6)], 1))

    grouping = find_groups(trace(TokenNet(), torch.ones(2, 3)))
    with pytest.raises(ValueError, match=r"group 'token' has no filters"):
        score(grouping)


def test_bad_distance():
    with pytest.raises(ValueError, match="geometric-median, distance: expected 'l2' or 'cosine', got 'l1'"):
        GeometricMedian("l1")
