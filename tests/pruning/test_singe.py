"""SInGE: integrals with known values (structured_pruning §7)."""

import pytest
import torch
from torch import nn

from pruning import find_groups, trace
from pruning.criteria import Singe
from pruning.criteria.singe import geometric_integral
from pruning.gates import gated
from pruning.testing import CriterionSuite, randomise


class TestSingeGates(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Singe(mu=0.7, steps=6)


class TestSingeWeights(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Singe(mu=0.7, steps=6, path="weights")


def one_weight(value):
    """x = 1 -> w -> w: one unit, whose output is its weight."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    model[0].weight.data = torch.tensor([[value], [0.0]]).double()
    model[1].weight.data.fill_(1.0)
    return find_groups(trace(model, torch.ones(2, 1).double())), [(torch.ones(3, 1).double(), None)]


@pytest.mark.parametrize("path", ["gates", "weights"])
@pytest.mark.parametrize(
    ("loss", "steps", "expected", "tolerance"),
    [
        (lambda o, t: torch.sigmoid(o).mean(), 60, 0.4656, 5e-5),
        (lambda o, t: (o * o / 2).mean(), 400, 400 / 1.9, 1e-9),
        (lambda o, t: 3 * o.mean(), 60, 60 * (1 - 0.9**60), 1e-9),
    ],
    ids=["sigmoid", "quadratic", "linear"],
)
def test_golden_values(path, loss, steps, expected, tolerance):
    """w = 20: sigmoid 0.4656 where one gradient sees 4e-8; quadratic 210.5; linear W times gradient (1 - mu^S)."""
    grouping, batches = one_weight(20.0)
    scores = Singe(steps=steps, path=path).score(grouping, batches, loss)["0"]
    assert float(scores[0]) == pytest.approx(expected, abs=tolerance)
    assert scores[1] == 0


def test_the_sum_converges_to_the_integral():
    for mu, steps in ((0.99, 2000), (0.999, 20000)):
        found = geometric_integral(lambda x: torch.tensor(3 * x * x, dtype=torch.float64), mu, steps)
        assert float(found) == pytest.approx(1, rel=2 * (1 - mu))
    weights = geometric_integral(lambda x: torch.tensor(1.0, dtype=torch.float64), 0.8, 3)
    assert float(weights) == pytest.approx(1 - 0.8**3)


def tiny():
    torch.manual_seed(2)
    return randomise(
        nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten())
        .append(nn.Linear(8, 1))
        .double()
    )


def loss_of(output, target):
    return torch.sigmoid(output).mean() if target is None else ((output[:, 0] - target) ** 2).mean()


def test_completeness_a_group_stands_for_the_whole_change_of_the_loss():
    """All units with positive influence: the scores of a group sum to L(1) - L(all removed)."""
    model = tiny()
    for layer in (model[3], model[6]):
        layer.weight.data.abs_()
    x = torch.rand(5, 1, 4, 4).double()
    grouping = find_groups(trace(model, x))
    scores = Singe(mu=0.98, steps=400).score(grouping, [(x, None)], loss_of)
    for name, units in (("0", slice(0, 3)), ("3", slice(3, 5))):
        removed = torch.ones(5).double()
        removed[units] = 0
        change = loss_of(*gated(grouping, (x,), torch.ones(5).double()), None)
        change = change - loss_of(*gated(grouping, (x,), removed), None)
        torch.testing.assert_close(scores[name].sum(), change.detach(), rtol=2e-2, atol=0)


def test_the_path_of_weights_by_hand():
    """(mu^s - mu^(s+1)) w . dL/dw at mu^s w, summed over filter and bias, for all filters of the layer at once."""
    model, x, y = tiny(), torch.randn(5, 1, 4, 4).double(), torch.randn(5).double()
    grouping = find_groups(trace(model, x))
    scores = Singe(mu=0.6, steps=4, path="weights").score(grouping, [(x, y)], loss_of)["0"]
    model.eval()
    weight, bias = model[0].weight.detach().clone(), model[0].bias.detach().clone()
    total = torch.zeros(3).double()
    for s in range(4):
        model.zero_grad()
        model[0].weight.data, model[0].bias.data = 0.6**s * weight, 0.6**s * bias
        loss_of(model(x), y).backward()
        along = (model[0].weight.grad * weight).sum((1, 2, 3)) + model[0].bias.grad * bias
        total += (0.6**s - 0.6 ** (s + 1)) * along
    torch.testing.assert_close(scores, total.abs())


@pytest.mark.parametrize("path", ["gates", "weights"])
def test_the_mean_over_the_data_comes_before_the_magnitude(path):
    model, x, y = tiny(), torch.randn(5, 1, 4, 4).double(), torch.randn(5).double()
    grouping, criterion = find_groups(trace(model, x)), Singe(steps=5, path=path)
    whole = criterion.score(grouping, [(x, y)], loss_of)
    parts = criterion.score(grouping, [(x[:4], y[:4]), (x[4:], y[4:])], loss_of)
    for name, score in whole.items():
        torch.testing.assert_close(parts[name], score)


def test_a_loss_that_does_not_see_the_network():
    grouping, batches = one_weight(1.0)
    scores = Singe(steps=2).score(grouping, batches, lambda o, t: torch.ones(()))
    assert scores["0"].tolist() == [0, 0]


@pytest.mark.parametrize("options", [{"mu": 1.0}, {"mu": 0}, {"steps": 0}, {"steps": 2.5}, {"path": "filters"}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="singe, .*expected"):
        Singe(**options)
