"""Classes of groups with the same structure, and the selection that compares like with like."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import Budget, Constraints, IsomorphicSelector, find_groups, prune, structure_classes, trace
from pruning.selectors.shares import equal_shares


def members(classes):
    """The groups of each class."""
    found = {}
    for name, label in classes.items():
        found.setdefault(label, set()).add(name)
    return set(map(frozenset, found.values()))


class Encoder(nn.Module):
    """Two transformer layers of different width of the hidden layer, with attention and MLP built alike."""

    def __init__(self):
        super().__init__()
        for i, hidden in enumerate((10, 7)):
            for name, sizes in {"q": (6, 8), "k": (6, 8), "v": (6, 8), "out": (8, 6)}.items():
                setattr(self, f"{name}{i}", nn.Linear(*sizes))
            setattr(self, f"up{i}", nn.Linear(6, hidden))
            setattr(self, f"down{i}", nn.Linear(hidden, 6))

    def forward(self, x):
        for i in range(2):
            q, k, v = (
                getattr(self, f"{n}{i}")(x).view(x.shape[0], x.shape[1], 2, -1).transpose(1, 2) for n in ("q", "k", "v")
            )
            y = F.scaled_dot_product_attention(q, k, v, scale=0.5).transpose(1, 2).flatten(2)
            x = x + getattr(self, f"out{i}")(y)
            x = x + getattr(self, f"down{i}")(F.gelu(getattr(self, f"up{i}")(x)))
        return x


def test_attention_and_hidden_channels_are_classes_of_their_own():
    """Values and hidden channels have members of the same kinds; what is between them differs."""
    grouping = find_groups(trace(Encoder(), torch.randn(2, 5, 6)))
    found = members(structure_classes(grouping))
    assert found == {frozenset(names) for names in (("q0", "q1"), ("v0", "v1"), ("up0", "up1"))}


def test_blocks_of_different_width_are_alike_and_the_stream_is_not(traced):
    found = members(structure_classes(find_groups(traced("resnet"))))
    assert found == {frozenset({"conv1"}), frozenset({f"blocks.{i}.conv1" for i in range(3)})}


def test_branches_are_told_apart(traced):
    """left and right go the same way; stem goes another, and merge another still."""
    found = members(structure_classes(find_groups(traced("concat"))))
    assert found == {frozenset({"left", "right"}), frozenset({"stem"}), frozenset({"merge"})}


def test_by_hand():
    """Half of {a, b} is both units of a, the better stays; half of {c} is one; three quarters takes one of b."""
    scores = {"a": torch.tensor([1.0, 2]), "b": torch.tensor([3.0, 4]), "c": torch.tensor([0.1, 0.2])}
    classes = {"a": 0, "b": 0, "c": 1}
    for limit, expected in ((4, {"a": (1,), "b": (0, 1), "c": (1,)}), (3, {"a": (1,), "b": (1,), "c": (1,)})):
        budget = Budget(lambda kept: float(sum(kept.values())), limit, "units")
        kept = IsomorphicSelector("none").select(scores, budget, Constraints(), comparable=True, classes=classes)
        assert kept == expected == reference(scores, classes, limit)


def reference(scores, classes, limit):
    """Try every share, mildest first; remove that share of each class, lowest first, one unit staying per group."""
    sizes = {label: sum(len(s) for n, s in scores.items() if classes[n] == label) for label in set(classes.values())}
    for share in sorted({Fraction(k, n) for n in sizes.values() for k in range(n + 1)}):
        kept = {name: set(range(len(score))) for name, score in scores.items()}
        for label, size in sizes.items():
            units = [
                (float(s), n, i) for n, score in scores.items() if classes[n] == label for i, s in enumerate(score)
            ]
            for _, name, unit in sorted(units, key=lambda entry: entry[0])[: int(share * size)]:
                kept[name].discard(unit)
        for name, score in scores.items():
            if not kept[name]:
                kept[name] = {int(score.argmax())}
        if sum(len(units) for units in kept.values()) <= limit:
            return {name: tuple(sorted(units)) for name, units in kept.items()}
    raise AssertionError("out of reach")


@settings(max_examples=100)
@given(data=st.data(), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_isomorphic_equals_the_reference(data, sizes):
    total = sum(sizes)
    numbers = data.draw(st.permutations(range(total)))
    parts = torch.tensor(numbers, dtype=torch.float64).split(sizes)
    scores = {f"g{i}": part for i, part in enumerate(parts)}
    classes = {name: data.draw(st.integers(0, 2)) for name in scores}
    limit = data.draw(st.integers(len(sizes), total))
    budget = Budget(lambda kept: float(sum(kept.values())), limit, "units")
    kept = IsomorphicSelector("none").select(scores, budget, Constraints(), comparable=True, classes=classes)
    assert kept == reference(scores, classes, limit)


def test_shares_of_classes_are_equal():
    """Sizes 4 + 4 and 2: shares of eighths and halves; at 3/8 the small class loses none, at 1/2 one."""
    ranks = {"a": torch.arange(4.0), "b": torch.arange(4.0) + 10, "c": torch.arange(2.0)}
    classes = {"a": 0, "b": 0, "c": 1}
    cost = lambda kept: float(sum(kept.values()))  # noqa: E731
    assert equal_shares(ranks, classes, Budget(cost, 7), Constraints()) == {"a": 1, "b": 4, "c": 2}
    assert equal_shares(ranks, classes, Budget(cost, 6), Constraints()) == {"a": 1, "b": 4, "c": 1}


def test_classes_are_asked_for():
    budget = Budget(lambda kept: 1.0, 1.0)
    for classes in (None, {"b": 0}):
        with pytest.raises(ValueError, match=r"needs the class of every group.*\['a'\].*structure_classes"):
            IsomorphicSelector().select({"a": torch.ones(2)}, budget, Constraints(), comparable=True, classes=classes)


def test_pruning_by_class(build, image):
    result = prune(build("resnet"), image, criterion="magnitude", selector="isomorphic")
    assert result.macs_after <= 0.5 * result.macs_before
    blocks = [result.kept[f"blocks.{i}.conv1"] for i in range(3)]
    lost = 1 - sum(kept for kept, _ in blocks) / sum(size for _, size in blocks)
    kept, size = result.kept["conv1"]
    assert abs(lost - (1 - kept / size)) <= 1 / size
