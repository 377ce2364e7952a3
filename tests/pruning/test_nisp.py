"""NISP: propagation by hand, by autograd, through skips, and refusals (structured_pruning §6)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, trace
from pruning.criteria import Nisp
from pruning.criteria.inf_fs import inf_fs
from pruning.testing import CriterionSuite, randomise


class TestNisp(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Nisp()


class TestNispScaledAndZeroing(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Nisp(ratio=0.4, batch_norm="scale")


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def chain(*weights):
    """Linear layers with the given weights, ReLU between, and a classifier of three classes."""
    layers = []
    for weight in [*weights, [[1.0] * len(weights[-1])] * 3]:
        linear = nn.Linear(len(weight[0]), len(weight)).double()
        linear.weight.data = double(weight)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def grouping_of(model, *shape):
    return find_groups(trace(model.double(), torch.randn(2, *shape).double()))


def test_golden_one_layer():
    """W = [[1, -2], [3, 0]], s = (1, 2): |W|^T s = (7, 2)."""
    grouping = grouping_of(chain([[1.0], [1.0]], [[1.0, -2.0], [3.0, 0.0]]), 1)
    scores = Nisp().propagate(grouping, double([1.0, 2.0]))
    torch.testing.assert_close(scores["0"], double([7.0, 2.0]))
    torch.testing.assert_close(scores["2"], double([1.0, 2.0]))


def test_the_lowest_are_zeroed_before_going_on():
    """Half of the last hidden layer goes: its unit 0 (score 1) no longer counts for (7, 2) -> (6, 0)."""
    grouping = grouping_of(chain([[1.0], [1.0]], [[1.0, -2.0], [3.0, 0.0]]), 1)
    scores = Nisp(ratio=0.5).propagate(grouping, double([1.0, 2.0]))
    torch.testing.assert_close(scores["0"], double([6.0, 0.0]))
    torch.testing.assert_close(scores["2"], double([1.0, 2.0]))


class Positive(nn.Module):
    """Linear and non-negative: strided padded convolution, pooling, concatenation, residual, flatten."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.c, self.features, self.head = nn.Conv2d(3, 2, 2), nn.Linear(20, 6), nn.Linear(6, 2)
        for parameter in self.parameters():
            parameter.data.uniform_(0.1, 1)

    def forward(self, x):
        x = self.a(x)
        self.hidden = [x]
        x = x + self.b(x)
        self.hidden.append(x)
        y = F.avg_pool2d(self.c(F.pad(x, (1, 0, 1, 0))), 2)
        self.hidden.append(y)
        z = torch.cat([y, F.avg_pool2d(x, 2)], 1)
        self.hidden.append(z)
        self.response = self.features(z.flatten(1))
        return self.head(self.response)


def test_on_a_non_negative_linear_network_scores_are_the_gradient_of_s_f():
    torch.manual_seed(0)
    s = torch.rand(6).double()
    grouping = grouping_of(Positive(), 2, 8, 8)
    assert {group.name for group in grouping.groups} == {"a", "c", "features"}
    model = grouping.trace.model
    model(torch.rand(1, 2, 8, 8).double())
    for value in model.hidden:
        value.retain_grad()
    (model.response[0] @ s).backward()
    scores = Nisp().propagate(grouping, s)
    hidden = [value.grad.sum((0, 2, 3)) for value in model.hidden]
    torch.testing.assert_close(scores["features"], s)
    torch.testing.assert_close(scores["c"], hidden[3][:2])
    torch.testing.assert_close(scores["a"], hidden[0] + hidden[1])


def test_an_identity_skip_is_not_forgotten():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = nn.Linear(1, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.head = nn.Linear(2, 3)
            self.one.weight.data = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
            self.two.weight.data = torch.tensor([[-1.0, 0.0], [0.0, 5.0]])

        def forward(self, x):
            x = F.relu(self.stem(x))
            return self.head(F.relu(x + self.two(F.relu(self.one(x)))))

    scores = Nisp().propagate(grouping_of(Skip(), 1), double([1.0, 2.0]))
    torch.testing.assert_close(scores["one"], double([1.0, 10.0]))
    by_branch = double([1 + 30.0, 2.0])
    torch.testing.assert_close(scores["stem"], double([1.0, 2.0]) + double([1.0, 2.0]) + by_branch)


def test_max_pooling_gives_a_score_to_every_tap_of_its_windows():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.MaxPool2d(3, 1), nn.Flatten(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    network[3].weight.data = torch.arange(24.0).reshape(3, 8) - 12
    scores = Nisp().propagate(grouping_of(network, 1, 4, 4), double([1.0, 1.0, 0.0]))
    per_window = network[3].weight[:2].detach().abs().sum(0).reshape(2, 4)
    torch.testing.assert_close(scores["0"], 9 * per_window.sum(1).double())


def test_batch_norm_as_a_factor():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    randomise(network)
    network[2].weight.data[1] *= -1
    grouping, s = grouping_of(network, 2), double([1.0, 2.0, 3.0, 4.0])
    norm, weight = network[2], network[1].weight.detach().abs()
    factor = (norm.weight.abs() / (norm.running_var + norm.eps).sqrt()).detach()
    plain, scaled = (Nisp(batch_norm=kind).propagate(grouping, s) for kind in ("identity", "scale"))
    torch.testing.assert_close(plain["0"], weight.T @ s)
    torch.testing.assert_close(plain["1"], s)
    torch.testing.assert_close(scaled["0"], weight.T @ (factor * s))
    torch.testing.assert_close(scaled["1"], factor * s)


def test_the_whole_method_by_hand():
    """Scores of the last hidden layer are Inf-FS of its activations, over all batches together."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.randn(30, 4).double()
    scores = Nisp().score(grouping_of(network, 4), [(x[:20], None), (x[20:], None)], F.cross_entropy)
    torch.testing.assert_close(scores["0"], inf_fs(network[:2](x).detach()))


def test_a_convolutional_classifier_is_scored_by_means_over_positions():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(30, 1, 5, 5).double()
    scores = Nisp().score(grouping_of(network, 1, 5, 5), [(x, None)], F.cross_entropy)
    torch.testing.assert_close(scores["0"], inf_fs(network[:2](x).mean((2, 3)).detach()))


class Wrapped(nn.Module):
    """One convolution, a function of its result, and a classifier with one hidden layer."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 4, 1), function
        self.features, self.head = nn.LazyLinear(3), nn.Linear(3, 2)
        self(torch.ones(2, 1, 6, 6))

    def forward(self, x):
        return self.head(F.relu(self.features(self.function(self.conv(x)).flatten(1))))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x * torch.sigmoid(x), "aten.mul"),
        (lambda x: x.softmax(-1), "softmax"),
        (lambda x: F.max_pool2d(x, 2, dilation=2), "aten.max_pool2d"),
        (lambda x: torch.div(x, 2.0, rounding_mode="floor"), "aten.div"),
    ],
)
def test_what_has_no_linear_companion_is_refused_by_name(function, name):
    grouping = grouping_of(Wrapped(function), 1, 6, 6)
    with pytest.raises(ValueError, match=name):
        Nisp().propagate(grouping, torch.ones(3).double())


@pytest.mark.parametrize(
    ("function", "factor"),
    [
        (lambda x: 5 - 3 * x / -4 + 1, 0.75),
        (lambda x: torch.sub(x, x, alpha=-2), 3),
        (lambda x: F.gelu(F.hardswish(F.pad(x, (0, 0, 2, 0), value=7.0)))[:, :, 2:], 1),
    ],
)
def test_arithmetic_with_constants(function, factor):
    network = Wrapped(function)
    scores = Nisp().propagate(grouping_of(network, 1, 6, 6), torch.ones(3).double())
    expected = network.features.weight.detach().abs().sum(0).reshape(4, -1).sum(1)
    torch.testing.assert_close(scores["conv"], factor * expected.double())


def test_a_network_with_two_outputs_and_a_group_that_leads_nowhere():
    class Heads(nn.Module):
        def __init__(self, both):
            super().__init__()
            self.stem, self.side, self.one = nn.Linear(2, 3), nn.Linear(2, 4), nn.Linear(3, 2)
            self.both = both

        def forward(self, x):
            side, main = self.side(x), self.one(F.relu(self.stem(x)))
            return (main, side) if self.both else main + side.sum(1, keepdim=True)

    with pytest.raises(ValueError, match="one output, got 2"):
        Nisp().propagate(grouping_of(Heads(True), 2), torch.ones(3).double())
    with pytest.raises(ValueError, match="no score reaches side"):
        Nisp().propagate(grouping_of(Heads(False), 2), torch.ones(3).double())


def test_a_wrong_number_of_scores():
    with pytest.raises(ValueError, match=r"one score per input of the classifier, \[2\], got \[3\]"):
        Nisp().propagate(grouping_of(chain([[1.0], [1.0]]), 1), torch.ones(3).double())


@pytest.mark.parametrize("options", [{"ratio": 1.0}, {"ratio": -0.1}, {"batch_norm": "fold"}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="nisp, .*expected"):
        Nisp(**options)
