"""PFP: sensitivities of channels, and thresholds on ε against the paper's own search (structured_pruning §2)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import Constraints, GlobalSelector, count_macs, find_groups, macs_cost, parameter_cost, prune, trace
from pruning.cost import Budget, full_counts
from pruning.criteria import Pfp
from pruning.criteria.pfp import _drawn_order
from pruning.criteria.sample_complexity import expected_unique, fewest_draws, thresholds
from pruning.testing import CriterionSuite


class TestPfp(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Pfp()


class TestPfpChannel(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Pfp(numerator="channel", examples=4)


class TestPfpRand(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Pfp("rand", seed=3)


class TestPfpTop(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Pfp("top")


def ignore_loss(output, target):
    raise AssertionError("PFP needs no loss")


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def kept(p, complexity, epsilon):
    """U(ε), as the paper writes it."""
    draws = math.ceil(3 * (6 + 2 * epsilon) * complexity / epsilon**2)
    unique = sum(1 - (1 - float(x)) ** draws for x in p)
    return min(len(p), max(1, math.ceil(unique - 1e-9)))


def probabilities(seed, size, zeros):
    p = torch.rand(size, generator=torch.Generator().manual_seed(seed)).double() ** 3
    p[1 : 1 + zeros] = 0
    return p / p.sum()


@settings(max_examples=100)
@given(seed=st.integers(0, 9999), size=st.integers(1, 12), data=st.data(), power=st.floats(-2, 4))
def test_a_threshold_on_epsilon_is_the_sample_complexity(seed, size, data, power):
    """U(ε) units have a threshold above ε, for every ε: the global ranking is the one-ε allocation."""
    p = probabilities(seed, size, data.draw(st.integers(0, size - 1)))
    complexity, epsilon = 271.8 * (1 + seed % 7), 10.0**power
    found = thresholds(fewest_draws(p), complexity)
    assert max(1, int((found > epsilon).sum())) == kept(p, complexity, epsilon)
    assert bool((found[:-1] > found[1:]).all()) and len(found) == int((p > 0).sum())


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), size=st.integers(1, 9))
def test_fewest_draws_against_counting(seed, size):
    p, draws, expected = probabilities(seed, size, 0), 1, []
    while len(expected) < size and draws < 3000:
        while len(expected) < math.ceil(sum(1 - (1 - float(x)) ** draws for x in p) - 1e-9):
            expected.append(draws)
        draws += 1
    assert fewest_draws(p)[: len(expected)].tolist() == expected


def test_draws_by_hand():
    """p = (.4, .6): one draw shows one channel; two show 1 − .36 + 1 − .16 = 1.48, rounded up 2."""
    p = double([0.4, 0.6])
    assert fewest_draws(p).tolist() == [1, 2]
    torch.testing.assert_close(expected_unique(p, double([1, 2])), double([1, 1.48]))
    assert fewest_draws(double([1.0])).tolist() == [1]
    assert fewest_draws(double([])).tolist() == [] and fewest_draws(double([0.0, 1.0])).tolist() == [1]
    rare = fewest_draws(double([1 - 1e-14, 1e-14]))
    assert float(rare[0]) == 1 and expected_unique(double([1 - 1e-14, 1e-14]), rare)[1] == pytest.approx(1, abs=1e-8)
    epsilon = float(thresholds(double([11]), 5.0))
    assert 3 * (6 + 2 * epsilon) * 5 / epsilon**2 == pytest.approx(10)


def test_golden_sensitivity():
    """Consumer weights [[1, 3], [2, 2]] on a = (1, 1): s = (.5, .75), and α = 6 ln(8 · 2 / δ)."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2)).double()
    model[0].weight.data.fill_(1)
    model[1].weight.data = double([[1.0, 3.0], [2.0, 2.0]])
    x = torch.ones(2, 1).double()
    s, ties, factor = Pfp().sensitivity(find_groups(trace(model, x)), [(x, None)])
    assert s.tolist() == [0.5, 0.75] and ties.tolist() == [0.75, 1.25]
    torch.testing.assert_close(factor, torch.full((2,), 6 * math.log(16 / 1e-16)).double())
    scores = Pfp().score(find_groups(trace(model, x)), [(x, None)], ignore_loss)["0"]
    torch.testing.assert_close(scores.flip(0), thresholds(double([1, 2]), float(factor[0]) * 1.25))


def test_negative_activations_are_examples_of_their_own():
    """a = (1, −2), w = (3, 1): on a⁺ unit 0 has the whole sum, on a⁻ unit 1."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1)).double()
    model[0].weight.data = double([[1.0], [-2.0]])
    model[1].weight.data = double([[3.0, 1.0]])
    x = torch.ones(2, 1).double()
    assert Pfp().sensitivity(find_groups(trace(model, x)), [(x, None)])[0].tolist() == [1.0, 1.0]


class Stream(nn.Module):
    """A stream read by a convolution, a depthwise one with another convolution behind it, and a flattened linear."""

    def __init__(self):
        super().__init__()
        self.stem, self.one = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 5, 3, padding=1, stride=2)
        self.depth, self.two, self.head = nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 3, 1), nn.Linear(4 * 36, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.one(x).sum((2, 3)), self.two(F.relu(self.depth(x))).mean((2, 3)), self.head(x.flatten(1))


def shares(weight, patch):
    """The largest share per column of rows [O, K] on patches [N, K, P], over outputs, examples and positions."""
    best = torch.zeros(weight.shape[1]).double()
    for signed in (weight.clamp(min=0), (-weight).clamp(min=0)):
        terms = signed[None, :, :, None] * patch[:, None]
        total = terms.sum(2, keepdim=True)
        best = torch.maximum(best, torch.where(total > 1e-6, terms / total, 0.0).amax((0, 1, 3)))
    return best


def test_every_reader_of_a_stream_counts():
    """Convolutions and the flattened linear layer; a depthwise one only passes units on to the next reader."""
    torch.manual_seed(1)
    model, x = Stream().double(), random(3, 2, 6, 6)
    with torch.no_grad():
        hidden = F.relu(model.stem(x))
        deep = F.relu(model.depth(hidden))
        readers = [
            shares(model.one.weight.flatten(1), F.unfold(hidden, 3, padding=1, stride=2)).reshape(4, 9).amax(1),
            shares(model.two.weight.flatten(1), deep.flatten(2)),
            shares(model.head.weight, hidden.flatten(1)[..., None]).reshape(4, 36).amax(1),
        ]
    grouping = find_groups(trace(model, x))
    (group,) = [group for group in grouping.groups if group.size == 4]
    s, _, factors = (grouping.split(v)[group.name] for v in Pfp().sensitivity(grouping, [(x[:2], None), (x[2:], None)]))
    torch.testing.assert_close(s, torch.stack(readers).amax(0), rtol=0, atol=1e-11)
    assert factors.tolist() == pytest.approx([6 * math.log(8 * (9 + 1) * 9 / 1e-16)] * 4)


@pytest.mark.parametrize("cost_of", [macs_cost, parameter_cost])
@pytest.mark.parametrize("share", [0.15, 0.3, 0.5, 0.8])
def test_the_global_selector_finds_the_one_epsilon(traced, cost_of, share):
    """Bisection on ε over the whole network, as the reference does, keeps the same number of units everywhere."""
    grouping = find_groups(traced("resnet"))
    batches = [(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)), None)]
    s, _, factors = (grouping.split(part) for part in Pfp().sensitivity(grouping, batches))
    macs = count_macs(grouping.trace.model, grouping.trace.inputs)
    cost = macs_cost(grouping, macs) if cost_of is macs_cost else parameter_cost(grouping)
    limit = share * cost(full_counts(grouping))

    def counts(epsilon):
        return {
            name: kept(values / values.sum(), float(factors[name].max() * values.sum()), epsilon)
            for name, values in s.items()
        }

    low, high = 1e-3, 1e9
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if cost(counts(middle)) <= limit else (middle, high)
    scores = Pfp().score(grouping, batches, ignore_loss)
    found = GlobalSelector().select(scores, Budget(cost, limit), Constraints(), comparable=True)
    used = {name: max(1, sum(float(s[name][unit]) > 0 for unit in units)) for name, units in found.items()}
    assert used == counts(high)  # the paper never keeps a unit without sensitivity, ours does if the budget has room
    assert len(set(counts(high).values())) > 1
    for name, units in found.items():
        assert float(s[name][list(units)].min()) >= max(
            (float(v) for i, v in enumerate(s[name]) if i not in units), default=0
        )


def test_ties_go_by_mean_shares_and_unused_units_score_nothing():
    """Units 0 and 1 both have a sum of their own; unit 1 for two outputs. Unit 2 is never active, 3 never read."""
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)).double()
    model[0].weight.data = double([[1.0], [1.0], [-1.0], [1.0]])
    model[2].weight.data = double([[0.0, 1.0, 5.0, 0.0], [0.0, 1.0, 5.0, 0.0], [1.0, 0.0, 5.0, 0.0]])
    x = torch.ones(2, 1).double()
    scores = Pfp().score(find_groups(trace(model, x)), [(x, None)], ignore_loss)["0"]
    assert scores[1] > scores[0] > 0 and scores[2:].tolist() == [0, 0]
    dead = Pfp("top").score(find_groups(trace(model, x)), [(-0.0 * x, None)], ignore_loss)["0"]
    assert not dead.any()


def test_drawn_orders_have_the_distribution_of_draws():
    """First appearances among draws from p: P(first = j) = p_j, P(1 after 0) = p_1 / (1 − p_0), over many draws."""
    p, generator = double([0.5, 0.3, 0.2]), torch.Generator().manual_seed(5)
    draws = fewest_draws(p)
    orders = [tuple(_drawn_order(p, draws, False, generator).tolist()) for _ in range(4000)]
    assert {len(set(order)) for order in orders} == {3}
    for unit, share in enumerate(p.tolist()):
        assert sum(order[0] == unit for order in orders) / 4000 == pytest.approx(share, abs=0.035)
    after = [order[1] for order in orders if order[0] == 0]
    assert after.count(1) / len(after) == pytest.approx(0.6, abs=0.05)


def test_top_takes_the_certain_ones_first():
    """At every size the k = min(#{p >= 1/m}, size) most sensitive are in, once those missing could be added."""
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        p = probabilities(seed, 12, 0).sort(descending=True).values
        draws = fewest_draws(p)
        order = _drawn_order(p, draws, True, generator).tolist()
        assert sorted(order) == list(range(12))
        for size in range(1, 13):
            certain = min(int((p >= 1 / draws[size - 1]).sum()), size)
            missing = set(range(certain)) - set(order[:size])
            assert not missing or order[size - 1] == min(set(range(certain)) - set(order[: size - 1]))
    even = _drawn_order(torch.full((6,), 1 / 6).double(), double([1, 7, 8, 9, 10, 11]), True, generator).tolist()
    assert even[1:] == sorted(even[1:])


def test_seeds_are_draws(traced):
    grouping = find_groups(traced("conv"))
    batches = [(torch.randn(2, 3, 8, 8), None)]
    one, two, again = (Pfp("rand", seed=seed).score(grouping, batches, ignore_loss) for seed in (0, 1, 0))
    sure = Pfp().score(grouping, batches, ignore_loss)
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, score in one.items():
        assert torch.equal(score, again[name])
        assert torch.equal(score.sort().values, sure[name].sort().values)


@pytest.mark.parametrize("variant", ["det", "rand", "top"])
def test_it_prunes(build, image, variant):
    batches = [(torch.randn(3, 3, 8, 8), None)]
    result = prune(build("resnet"), image, criterion=Pfp(variant), loader=batches, loss=ignore_loss, round_to=2)
    assert result.macs_after <= 0.5 * result.macs_before and result.max_difference < 1e-9


def test_it_refuses_what_it_cannot_read():
    model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.ConvTranspose1d(4, 2, 1))
    grouping, x = find_groups(trace(model, torch.randn(2, 2, 3))), torch.randn(2, 2, 3)
    with pytest.raises(ValueError, match="conv_transpose1d in 1 sums over channels"):
        Pfp().score(grouping, [(x, None)], ignore_loss)


@pytest.mark.parametrize(
    "options",
    [{"variant": "best"}, {"numerator": "patch"}, {"examples": 0}, {"examples": 1.5}, {"seed": -1}, {"seed": True}],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=f"pfp, {next(iter(options))}: expected"):
        Pfp(**options)
