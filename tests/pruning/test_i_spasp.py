"""i-SpaSP: the pursuit against its definition, written out over all examples (structured_pruning §8)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, prune, trace
from pruning.consumers import LinearMap, consumers
from pruning.criteria import ISpasp, i_spasp
from pruning.criteria.i_spasp import block_correlation, support
from pruning.testing import CriterionSuite, randomise


class TestISpasp(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return ISpasp()


class TestISpaspOneSize(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return ISpasp(keep=0.5, iterations=3)


def ignore_loss(output, target):
    raise AssertionError("i-SpaSP needs no loss")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def pursuit(second, hidden, size, iterations=20):
    """Algorithm 1 on H [N, C, ...]: residual, correlation by autograd, candidates, best rows. No shortcuts."""
    kept, mass = set(), hidden.sum([i for i in range(hidden.ndim) if i != 1])
    empty = torch.zeros_like(hidden)
    for _ in range(iterations):
        masked = torch.zeros_like(hidden)
        masked[:, sorted(kept)] = hidden[:, sorted(kept)]
        residual = (second(hidden) - second(empty)) - (second(masked) - second(empty))
        leaf = torch.zeros_like(hidden).requires_grad_()
        (back,) = torch.autograd.grad(second(leaf), leaf, residual)
        y = back.sum([i for i in range(hidden.ndim) if i != 1])
        candidates = set(y.argsort(descending=True, stable=True)[: 2 * size].tolist()) | kept
        kept = set(sorted(candidates, key=lambda c: (-float(mass[c]), c))[:size])
    return sorted(kept)


def linear_correlation(weight, hidden):
    """K for U = W₂ H with H [n, C]."""
    width = weight.shape[1]
    return block_correlation(LinearMap(weight, 1, F.linear), hidden.sum(0, keepdim=True), 1, torch.arange(width), width)


def test_correlation_by_hand():
    """y = rowsum(W₂ᵀ V) = K 1 for every set of rows left out."""
    weight, hidden = random(4, 6), random(50, 6, seed=1).relu()
    correlation = linear_correlation(weight, hidden)
    for out in ([0, 1, 2, 3, 4, 5], [2], [1, 4], []):
        residual = weight[:, out] @ hidden[:, out].T
        missing = torch.zeros(6).double()
        missing[out] = 1
        torch.testing.assert_close(correlation @ missing, (weight.T @ residual).sum(1), rtol=1e-10, atol=1e-10)


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), width=st.integers(1, 9), outputs=st.integers(1, 6), data=st.data())
def test_support_against_the_definition(seed, width, outputs, data):
    size, iterations = data.draw(st.integers(1, width)), data.draw(st.integers(1, 5))
    weight, hidden = random(outputs, width, seed=seed), random(7, width, seed=seed + 1).relu()
    found = support(linear_correlation(weight, hidden), hidden.sum(0), size, iterations)
    assert found.tolist() == pursuit(lambda x: x @ weight.T, hidden, size, iterations)


def test_an_identity_second_layer_keeps_the_largest_rows():
    """W₂ = I: y = rowsum(H) at once, and the largest rows are returned."""
    hidden = random(30, 8).relu()
    correlation = linear_correlation(torch.eye(8).double(), hidden)
    torch.testing.assert_close(correlation @ torch.ones(8).double(), hidden.sum(0))
    for size in (1, 3, 7):
        largest = sorted(hidden.sum(0).argsort(descending=True)[:size].tolist())
        assert support(correlation, hidden.sum(0), size, 20).tolist() == largest


def test_exactly_s_rows_leave_no_residual_after_one_iteration():
    hidden = torch.zeros(20, 8).double()
    hidden[:, [1, 4, 6]] = random(20, 3).relu() + 0.1
    correlation = linear_correlation(torch.eye(8).double(), hidden)
    found = support(correlation, hidden.sum(0), 3, 1)
    assert found.tolist() == [1, 4, 6]
    missing = torch.ones(8).double()
    missing[found] = 0
    assert not (correlation @ missing).any()


def test_the_residual_matters():
    """A row that the reader does not see is dropped although it is the largest."""
    weight, hidden = torch.diag(double([1.0, 1.0, 0.0, 1.0])), torch.ones(5, 4).double() * double([2.0, 3.0, 9.0, 1.0])
    assert support(linear_correlation(weight, hidden), hidden.sum(0), 1, 20).tolist() == [1]


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_mass_is_of_magnitudes_and_ties_keep_the_lower_number():
    """Without an activation: unit 1 alternates between 5 and -5 and outweighs unit 2; units 0 and 3 are equal."""
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(4, 4, bias=False)).double()
    model[0].weight.data = double([[1.0, 0.0], [0.0, 5.0], [2.0, 0.0], [1.0, 0.0]])
    model[1].weight.data = torch.eye(4).double()
    x = double([[1.0, 1.0], [1.0, -1.0], [1.0, 0.5], [1.0, 0.5]])
    order = ISpasp().order(find_groups(trace(model, x)), [(x, None)], ignore_loss)
    assert order == [("0", 3), ("0", 0), ("0", 2), ("0", 1)]


class Block(nn.Module):
    """conv - bn - relu - conv - bn inside a residual; `second` is what follows the hidden channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.norm = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 7, 3), nn.BatchNorm2d(7)
        self.two, self.last = nn.Conv2d(7, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4)
        self.skip, self.head = nn.Conv2d(4, 4, 3, stride=2), nn.Linear(4, 2)

    def hidden(self, x):
        return F.relu(self.norm(self.one(F.relu(self.stem(x)))))

    def second(self, hidden):
        return self.last(self.two(hidden))

    def forward(self, x):
        return self.head(F.relu(self.second(self.hidden(x)) + self.skip(F.relu(self.stem(x)))).mean((2, 3)))


@pytest.fixture
def block():
    torch.manual_seed(4)
    return randomise(Block()).double().eval()


def test_a_block_with_batch_norm_over_two_batches(block):
    """Every size, against the pursuit over all examples with the real second map, its biases and statistics."""
    x = random(9, 2, 7, 7)
    grouping = find_groups(trace(block, x))
    batches = [(x[:5], None), (x[5:], None)]
    with torch.no_grad():
        hidden = block.hidden(x)
    supports = [pursuit(block.second, hidden, size) for size in range(1, 7)]
    for size, expected in enumerate(supports, start=1):
        order = [unit for name, unit in ISpasp(keep=size / 7).order(grouping, batches, ignore_loss) if name == "one"]
        assert sorted(order[7 - size :]) == expected
    counts = [sum(unit in found for found in supports) for unit in range(7)]
    order = [unit for name, unit in ISpasp().order(grouping, batches, ignore_loss) if name == "one"]
    assert [counts[unit] for unit in order] == sorted(counts)


def test_internal_channels_go_before_all_others(block):
    """The stem is read twice and the stream is made twice: they come last."""
    x = random(4, 2, 7, 7)
    order = ISpasp().order(find_groups(trace(block, x)), [(x, None)], ignore_loss)
    names = [name for name, _ in order]
    assert set(names) == {"stem", "one", "two"}
    assert set(names[:7]) == {"one"} and len(names) == 7 + 4 + 4


def test_a_budget_met_inside_blocks_leaves_the_streams_whole(build, image):
    batches = [(torch.randn(4, 3, 8, 8), torch.arange(4))]
    result = prune(build("resnet"), image, criterion="i-spasp", loader=batches, macs=0.5)
    assert result.kept["conv1"] == (8, 8)
    shares = [kept / size for name, (kept, size) in result.kept.items() if name != "conv1"]
    assert max(shares) < 0.6 and max(shares) - min(shares) <= 1 / 8


def test_depthwise_expansion_is_internal(traced):
    """1x1 expansion - depthwise - projection: one layer makes the channels, as the depthwise one only passes them."""
    grouping = find_groups(traced("grouped"))
    order = ISpasp().order(grouping, [(torch.randn(3, 3, 8, 8), None)], ignore_loss)
    place = {name: [group for group, _ in order].index(name) for name in ("stem", "mix", "few")}
    assert max(place.values()) < 3


def test_linear_parts_of_readers(block):
    """Without bias, with the batch norm's factor: differences of the real layer."""
    x = random(2, 2, 7, 7)
    grouping = find_groups(trace(block, x))
    nodes = {node.name: node for node in grouping.trace.program.graph.nodes}
    start = grouping.start("one")
    (site,) = (name for name, ((_, units),) in grouping.sites.items() if int(units[0]) == start)
    (second,) = consumers(grouping, nodes[site], 1)
    hidden = random(3, 7, 5, 5)
    with torch.no_grad():
        expected = block.second(hidden) - block.second(torch.zeros_like(hidden))
    torch.testing.assert_close(second(hidden), expected)
    some = torch.tensor([1, 4])
    hidden[:, [0, 2, 3, 5, 6]] = 0
    torch.testing.assert_close(second(hidden[:, some], some), second(hidden))
    assert consumers(grouping, nodes[site], 2) == []


@pytest.mark.parametrize("chunk", [1, 40, 10**6])
def test_grouped_readers_flattening_and_chunks(monkeypatch, chunk):
    """K of a convolution of two groups, and of a linear layer behind a flattening, in chunks of any size."""
    monkeypatch.setattr(i_spasp, "CHUNK", chunk)
    weight, hidden = random(4, 3, 2, 2), random(5, 6, 3, 3, seed=1).relu()
    grouped = LinearMap(weight, 1, lambda x, w: F.conv2d(x, w, groups=2))
    flat = LinearMap(random(3, 54, seed=2), 1, F.linear)
    for second, value, units in (
        (grouped, hidden, torch.tensor([0, 1, 2, 0, 1, 2])),
        (flat, hidden.flatten(1), torch.arange(54) // 9 - 1),
    ):
        count = int(units.max()) + 1
        found = block_correlation(second, value.sum(0, keepdim=True), 1, units, count)
        for missing in range(count):
            shape = [1, -1, *[1] * (value.ndim - 2)]
            masked = value * (units == missing).double().reshape(shape)
            leaf = torch.zeros_like(value).requires_grad_()
            (back,) = torch.autograd.grad(second(leaf), leaf, second(masked))
            y = [back.transpose(0, 1)[units == unit].sum() for unit in range(count)]
            torch.testing.assert_close(found[:, missing], torch.stack(y))


class Read(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.head, self.function = nn.Linear(3, 6), nn.Linear(6, 2), function

    def forward(self, x):
        y = F.relu(self.first(x))
        return self.head(y) + self.function(y)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: y.sum(1, keepdim=True), "sums over channels"),
        (lambda y: (y[:, None] @ y[:, :, None]).flatten(1), "something that is no parameter"),
    ],
)
def test_readers_that_are_no_linear_map_are_refused(function, message):
    grouping = find_groups(trace(Read(function), torch.randn(2, 3)))
    with pytest.raises(ValueError, match=message):
        ISpasp().order(grouping, [(torch.randn(2, 3), None)], ignore_loss)


@pytest.mark.parametrize("options", [{"keep": 0.0}, {"keep": 1.0}, {"iterations": 0}, {"iterations": 1.5}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="i-spasp, .*expected"):
        ISpasp(**options)
