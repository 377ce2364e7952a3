"""Plans one after the other: `first.then(second)` is one cut of the original network."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import Axis, Plan, Request
from pruning.check import difference
from pruning.shrinking import Shrinking
from pruning.testing import random_kept, randomise


class Table(nn.Module):
    """Nothing but a parameter and a buffer."""

    def __init__(self, rows, columns):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(float(rows * columns)).reshape(rows, columns))
        self.register_buffer("count", torch.arange(columns))


def some(size):
    return st.sets(st.integers(0, size - 1), min_size=1).map(lambda kept: tuple(sorted(kept)))


@st.composite
def two_plans(draw):
    """Of a table: sizes, and two plans in a row, each of which may leave out any axis."""
    sizes = {("weight", 0): draw(st.integers(1, 6)), ("weight", 1): draw(st.integers(1, 6))}
    sizes["count", 0] = sizes["weight", 1]
    rows, columns, plans = sizes["weight", 0], sizes["weight", 1], []
    for _ in range(2):
        axes = []
        for place, size in sizes.items():
            if draw(st.booleans()):
                axes.append(Axis(*place, size, draw(some(size))))
        sizes |= {(axis.tensor, axis.axis): len(axis.kept) for axis in axes}
        plans.append(Plan(tuple(draw(st.permutations(axes)))))
    return rows, columns, plans


@given(two_plans())
@settings(max_examples=200)
def test_then_is_one_plan_after_the_other(drawn):
    rows, columns, (first, second) = drawn
    apart = second.apply(first.apply(Table(rows, columns)))
    together = first.then(second).apply(Table(rows, columns))
    assert torch.equal(together.weight, apart.weight) and torch.equal(together.count, apart.count)
    assert Plan.from_json(first.then(second).to_json()) == first.then(second)


@given(st.data())
@settings(max_examples=50)
def test_then_is_associative_and_an_empty_plan_changes_nothing(data):
    sizes, plans = 9, []
    for _ in range(3):
        kept = data.draw(some(sizes))
        plans.append(Plan((Axis("weight", 0, sizes, kept),)))
        sizes = len(kept)
    one, two, three = plans
    assert one.then(two).then(three) == one.then(two.then(three))
    assert one.then(Plan()) == one == Plan().then(one)


def test_the_later_number_of_groups_counts():
    first = Plan((Axis("c.weight", 0, 8, (0, 1, 2, 3, 4, 5)),), (("c", 6), ("d", 2)))
    second = Plan((Axis("c.weight", 0, 6, (1, 2, 5)),), (("c", 3),))
    assert first.then(second) == Plan((Axis("c.weight", 0, 8, (1, 2, 5)),), (("c", 3), ("d", 2)))


def test_plans_that_do_not_follow_each_other():
    first = Plan((Axis("weight", 0, 8, (0, 1, 2)),))
    with pytest.raises(ValueError, match=r"'weight' axis 0: the first plan keeps 3 positions, the second.* 8"):
        first.then(first)


class Heads(nn.Module):
    """Attention whose heads and head sizes lie in one axis, on tokens [N, T, 6]."""

    def __init__(self):
        super().__init__()
        self.stem, self.qkv, self.out = nn.Linear(6, 5), nn.Linear(5, 3 * 4 * 3), nn.Linear(12, 5)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        n, t, _ = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 4, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, scale=0.5)
        return self.head((x + self.out(y.transpose(1, 2).reshape(n, t, -1))).mean(1))


def shrunk_twice(model, x, seed):
    network = Shrinking(model, x, Request(criterion="magnitude", macs=1.0))
    for number in (seed, seed + 1):
        network.cut(random_kept(network._current(), number))
    return network


@pytest.mark.parametrize("name", ["conv", "resnet", "concat", "grouped", "nhwc", "gates", "matmul", "tied", "heads"])
def test_two_cuts_are_the_one_cut_of_the_units_left(build, image, name):
    """Against the direct cut of the original network, and against the original network with units masked."""
    torch.manual_seed(4)
    model, x = (randomise(Heads()), torch.randn(2, 5, 6)) if name == "heads" else (build(name), image)
    network = shrunk_twice(model, x, seed=6)
    direct = Plan.from_kept(network.original, network.units)
    assert set(network.plan.axes) == set(direct.axes) and dict(network.plan.groups) == dict(direct.groups)
    assert any(len(network.units[group.name]) < group.size for group in network.original.groups)
    rebuilt = network.plan.apply(copy.deepcopy(model))
    for one, two in zip(rebuilt.parameters(), network.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert difference(network.original, network.units, network.model) < 1e-9
