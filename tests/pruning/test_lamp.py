"""LAMP: the definition, and what a global ranking by it cannot do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import Budget, Constraints, GlobalSelector, Lamp, Magnitude, find_groups, trace
from pruning.criteria.lamp import layer_adaptive
from pruning.testing import CriterionSuite


class TestLamp(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Lamp()


class TestLampFilter(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Lamp("filter")


def test_by_hand():
    """Squares 9, 1, 4: 9/9, 1/(9+4+1), 4/(9+4)."""
    found = layer_adaptive(torch.tensor([9.0, 1.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([1.0, 1 / 14, 4 / 13], dtype=torch.float64))


def test_ties_share_and_zeros_score_zero():
    found = layer_adaptive(torch.tensor([4.0, 9.0, 4.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([4 / 17, 1.0, 4 / 17, 0.0], dtype=torch.float64))
    assert layer_adaptive(torch.zeros(3).double()).tolist() == [0.0, 0.0, 0.0]
    assert layer_adaptive(torch.tensor([1e-300], dtype=torch.float64)).tolist() == [1.0]


@settings(max_examples=200)
@given(values=st.lists(st.integers(0, 20), min_size=1, max_size=12), scale=st.sampled_from([1.0, 0.25, 1024.0]))
def test_against_the_definition(values, scale):
    squares = torch.tensor(values).double().square() * scale
    expected = [float(s) / float(squares[squares >= s].sum()) if s else 0.0 for s in squares]
    found = layer_adaptive(squares)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    assert torch.equal(found, layer_adaptive(squares.flip(0)).flip(0))


@pytest.fixture
def grouping():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].weight.data = torch.tensor([[3.0, -4.0], [0.0, 1.0], [2.0, 2.0]])
    model[2].weight.data = torch.tensor([[12.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    return find_groups(trace(model, torch.ones(2, 2)))


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("group", [1.0, 5 / (169 + 9 + 5), 9 / (169 + 9)]), ("filter", [1.0, 1 / (25 + 8 + 1), 8 / (25 + 8)])],
)
def test_weights_are_those_of_the_group(grouping, scope, expected):
    scores = Lamp(scope).score(grouping, None, F.cross_entropy)
    torch.testing.assert_close(scores["0"], torch.tensor(expected, dtype=torch.float64))


def test_order_within_a_group_is_that_of_the_magnitude(traced):
    grouping = find_groups(traced("resnet"))
    lamp, magnitude = (kind.score(grouping, None, F.cross_entropy) for kind in (Lamp(), Magnitude()))
    for name, score in lamp.items():
        assert torch.equal(score.argsort(), magnitude[name].argsort())
        assert float(score.max()) == pytest.approx(1.0, rel=1e-14)


def test_a_layer_a_thousand_times_smaller_is_not_emptied(build, image):
    """Plain magnitude without normalisation would take all of `features.4` first; LAMP is invariant to scale."""
    model = build("conv").double()
    before = Lamp("filter").score(find_groups(trace(model, image.double())), None, F.cross_entropy)
    model.features[4].weight.data /= 1000
    grouping = find_groups(trace(model, image.double()))
    after = Lamp("filter").score(grouping, None, F.cross_entropy)
    torch.testing.assert_close(after["features.4"], before["features.4"], rtol=1e-12, atol=0)
    magnitude = Magnitude(scope="filter").score(grouping, None, F.cross_entropy)
    budget = Budget(lambda kept: float(sum(kept.values())), grouping.units - 12, "units")
    chosen = [
        GlobalSelector("none").select(scores, budget, Constraints(), comparable=True) for scores in (after, magnitude)
    ]
    assert len(chosen[0]["features.4"]) > 1 and len(chosen[1]["features.4"]) == 1


def test_bad_scope():
    with pytest.raises(ValueError, match="scope: expected 'group' or 'filter', got 'layer'"):
        Lamp("layer")
