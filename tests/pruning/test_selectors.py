"""Selectors: budgets are met, tightly; minimums and multiples hold; impossible budgets name the closest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning import Budget, Constraints, GlobalSelector, LocalSelector, selector, selectors

BOTH = [GlobalSelector("none"), LocalSelector()]


def count(kept):
    return float(sum(kept.values()))


def run(chooser, scores, limit, **constraints):
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in scores.items()}
    budget = Budget(count, limit, "units")
    return chooser.select(tensors, budget, Constraints(**constraints), comparable=True)


def test_global_takes_the_lowest_of_all():
    kept = run(GlobalSelector("none"), {"a": [5, 1, 4], "b": [3, 2, 9, 8]}, 4)
    assert kept == {"a": (0, 2), "b": (2, 3)}


def test_what_a_large_unit_leaves_over_is_given_back():
    """Hidden channels fall first, down to the last; then a head, which costs as much as ten of them."""
    scores = {"heads": torch.tensor([5.0, 6.0, 7.0]), "hidden": torch.arange(20) / 5}
    budget = Budget(lambda kept: 10.0 * kept["heads"] + kept["hidden"], 28.0)
    kept = GlobalSelector("none").select(scores, budget, Constraints(), comparable=True)
    assert kept == {"heads": (1, 2), "hidden": tuple(range(12, 20))}
    kept = GlobalSelector("none").select(scores, budget, Constraints(round_to={"hidden": 5}), comparable=True)
    assert kept == {"heads": (1, 2), "hidden": tuple(range(15, 20))}


def test_local_keeps_equal_fractions():
    kept = run(LocalSelector(), {"a": [5, 1, 4, 0], "b": [30, 20, 90, 80, 10, 0, 0, 1]}, 6)
    assert kept == {"a": (0, 2), "b": (0, 1, 2, 3)}


def test_ties_keep_the_lower_number_and_equal_scores_are_allowed():
    assert run(LocalSelector(), {"a": [1, 1, 1, 1]}, 2) == {"a": (0, 1)}


def test_normalisation():
    scores = {"a": [10.0, 30.0], "b": [1.0, 2.0]}
    assert run(GlobalSelector("none"), scores, 3)["b"] == (1,)
    assert run(GlobalSelector("mean"), scores, 3) == {"a": (1,), "b": (0, 1)}
    tensors = {name: torch.tensor(values) for name, values in scores.items()}
    chosen = [
        GlobalSelector().select(tensors, Budget(count, 3), Constraints(), comparable=comparable)
        for comparable in (True, False)
    ]
    assert chosen == [{"a": (0, 1), "b": (1,)}, {"a": (1,), "b": (0, 1)}]
    assert run(GlobalSelector("max"), {"a": [0.0, 0.0], "b": [1.0, 2.0]}, 3)["b"] == (0, 1)


@settings(max_examples=200)
@given(
    scores=st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1),
    chooser=st.sampled_from(BOTH),
    round_to=st.integers(1, 4),
    min_keep=st.integers(1, 4),
    limit=st.integers(1, 40),
    curved=st.booleans(),
)
def test_budget_minimum_and_multiples(scores, chooser, round_to, min_keep, limit, curved):
    def cost(kept):
        return float(sum(n * n if curved else n for n in kept.values()))

    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in scores.items()}
    constraints = Constraints(round_to, min_keep)
    least = {name: constraints.allowed(name, 0, len(score)) for name, score in tensors.items()}
    if cost(least) > limit:
        with pytest.raises(ValueError, match=f"closest is {cost(least):.6g}"):
            chooser.select(tensors, Budget(cost, limit), constraints, comparable=True)
        return
    kept = chooser.select(tensors, Budget(cost, limit), constraints, comparable=True)
    assert cost({name: len(units) for name, units in kept.items()}) <= limit
    for name, units in kept.items():
        size = len(tensors[name])
        assert len(units) >= min(min_keep, size)
        assert len(units) % round_to == 0 or len(units) == size
        assert list(units) == sorted(set(units))
        worst_kept = tensors[name][list(units)].min()
        dropped = [i for i in range(size) if i not in units]
        assert not dropped or tensors[name][dropped].max() <= worst_kept


@pytest.mark.parametrize("chooser", BOTH)
def test_a_loose_budget_removes_nothing(chooser):
    assert run(chooser, {"a": [1, 2, 3]}, 3, round_to=2) == {"a": (0, 1, 2)}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("chooser", BOTH)
def test_scores_that_cannot_be_ranked(chooser, bad):
    with pytest.raises(ValueError, match=r"scores\['b'\]: expected finite numbers, unit 1"):
        run(chooser, {"a": [1.0], "b": [1.0, bad]}, 1)


@pytest.mark.parametrize("chooser", BOTH)
def test_nothing_to_prune(chooser):
    with pytest.raises(ValueError, match="nothing can be pruned"):
        run(chooser, {}, 1)


def test_options_and_registry():
    assert selectors() == ["global", "isomorphic", "local", "priced"]
    assert isinstance(selector("global", normalise="l2"), GlobalSelector)
    priced = selector("priced", normalise="l2")
    assert isinstance(priced, GlobalSelector) and (priced.scale.normalise, priced.scale.price) == ("l2", "fit")
    for make in (
        lambda: selector("best"),
        lambda: GlobalSelector("sum"),
        lambda: selector("isomorphic", normalise="sum"),
        lambda: Constraints(round_to=0),
        lambda: Constraints(min_keep=0),
        lambda: Constraints(round_to=2.0),
    ):
        with pytest.raises(ValueError, match="expected"):
            make()
