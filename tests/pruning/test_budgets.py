"""Any cost of kept channels: steps, tables, prices, multiples; what cannot work is refused before any score."""

import math

import pytest
import torch
from torch import nn

import pruning
from pruning import (
    Budget,
    Constraints,
    Criterion,
    GlobalSelector,
    IsomorphicSelector,
    Selector,
    SetCriterion,
    find_groups,
    parameter_shapes,
    prune,
    selector,
    structure_classes,
)
from pruning.cost import full_counts, macs_cost, parameter_cost
from pruning.selectors import require_reachable
from pruning.selectors.scale import unit_costs
from pruning.testing import random_kept

SELECTORS = ["global", "isomorphic", "local"]


class Backwards(SetCriterion):
    """The last unit of the last group goes first."""

    name, needs_data, comparable = "backwards", False, True

    def order(self, grouping, batches, loss):
        return [(g.name, unit) for g in reversed(grouping.groups) for unit in reversed(range(g.size))]


class Scores(Criterion):
    """Whatever it is given; counts how often it is asked."""

    name, needs_data, comparable = "given", False, True

    def __init__(self, make):
        self.make, self.calls = make, 0

    def score(self, grouping, batches, loss):
        self.calls += 1
        return self.make(grouping)


def latency(block):
    """Blocks of channels that run at once: flat between multiples, and not a sum over groups."""

    def budget(grouping):
        names = [group.name for group in grouping.groups]

        def milliseconds(kept):
            blocks = [math.ceil(kept[name] / block) for name in names]
            return 1.0 + sum(a * b for a, b in zip([1, *blocks], [*blocks, 1], strict=True))

        full = full_counts(grouping)
        return Budget(milliseconds, (milliseconds(full) + milliseconds(dict.fromkeys(full, 1))) / 2, "ms")

    return budget


def energy(grouping):
    """A table: energy of every layer by units kept."""
    table = {g.name: [0.0, *(3.5 * k**0.8 + 2 * (k > 5) for k in range(1, g.size + 1))] for g in grouping.groups}
    total = sum(column[-1] for column in table.values())
    return Budget(lambda kept: sum(table[name][count] for name, count in kept.items()), 0.55 * total, "uJ")


@pytest.mark.parametrize("selector", SELECTORS)
def test_latency_in_steps(build, image, selector):
    seen = []
    result = prune(build("conv"), image, criterion="magnitude", selector=selector, budget=watched(latency(2), seen))
    ((budget, sizes),) = seen
    assert result.max_difference < 1e-9
    assert sizes == {name: size for name, (_, size) in result.kept.items()}
    assert budget({name: count for name, (count, _) in result.kept.items()}) <= budget.limit < budget(sizes)


def watched(make, seen):
    """The same budget; it and the sizes of the groups are kept."""

    def budget(grouping):
        seen.append((make(grouping), full_counts(grouping)))
        return seen[-1][0]

    return budget


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("conv", latency(2)),
        ("conv", energy),
        ("concat", latency(4)),
        ("concat", energy),
        ("resnet", latency(8)),
        ("resnet", latency(16)),
        ("resnet", energy),
    ],
)
@pytest.mark.parametrize("criterion", [pruning.Magnitude(), Backwards()])
@pytest.mark.parametrize("chooser", SELECTORS)
def test_steps_and_tables_are_met_and_not_by_too_much(traced, make, criterion, name, chooser):
    """Within the limit; a lower one keeps no group larger; of a given order, the last unit to go cannot come back."""
    grouping = find_groups(traced(name))
    scores, budget = criterion.score(grouping, None, None), make(grouping)
    options = {"comparable": criterion.comparable, "classes": structure_classes(grouping)}
    kept = selector(chooser).select(scores, budget, Constraints(), **options)
    counts = {name: len(units) for name, units in kept.items()}
    sizes = full_counts(grouping)
    assert budget(counts) <= budget.limit < budget(sizes)
    least = budget(dict.fromkeys(sizes, 1))
    tighter = Budget(budget.cost, (budget(counts) + least) / 2, budget.unit)
    fewer = selector(chooser).select(scores, tighter, Constraints(), **options)
    assert all(len(fewer[name]) <= count for name, count in counts.items())
    if chooser == "global" and isinstance(criterion, Backwards):
        last = [name for name, unit in criterion.order(grouping, None, None) if unit not in kept[name]][-1]
        assert budget({**counts, last: counts[last] + 1}) > budget.limit


@pytest.mark.parametrize("name", ["conv", "concat", "grouped", "gates", "matmul", "tied", "resnet"])
def test_shapes_are_those_of_the_cut_network(build, traced, name):
    grouping = find_groups(traced(name))
    shapes = parameter_shapes(grouping)
    for seed in range(2):
        kept = random_kept(grouping, seed)
        model = pruning.Plan.from_kept(grouping, kept).apply(build(name))
        expected = {key: tuple(p.shape) for key, p in model.named_parameters(remove_duplicate=False)}
        assert shapes({group: len(units) for group, units in kept.items()}) == expected


def test_latency_of_layers(traced):
    """A model of single layers: blocks of four by four channels of every convolution."""
    grouping = find_groups(traced("resnet"))
    shapes = parameter_shapes(grouping)

    def cycles(kept):
        weights = [shape for shape in shapes(kept).values() if len(shape) == 4]
        return float(sum(math.ceil(o / 4) * math.ceil(i / 4) * h * w for o, i, h, w in weights))

    full = full_counts(grouping)
    assert cycles(full) == 9 * (2 + 2 * 4 + (8 + 16) + (32 + 64))
    budget = Budget(cycles, 0.5 * cycles(full), "cycles")
    scores = pruning.Magnitude().score(grouping, None, None)
    kept = GlobalSelector().select(scores, budget, Constraints(), comparable=False)
    assert cycles({name: len(units) for name, units in kept.items()}) <= budget.limit


def test_two_limits_at_once(build, image):
    def both(grouping):
        macs, size = macs_cost(grouping, 1e9), parameter_cost(grouping)
        full = full_counts(grouping)
        m, s = macs(full) - 0.4 * (macs(full) - macs.constant), 0.45 * size(full)
        return Budget(lambda kept: max(macs(kept) / m, size(kept) / s), 1.0, "of the tighter limit")

    result = prune(build("conv"), image, criterion="magnitude", budget=both)
    assert result.params_after <= 0.45 * result.params_before


def test_a_unit_that_costs_more_goes_first():
    """A unit of a costs 5 and one of b costs 1; by hand 2 / 5 < 1 / 1."""
    scores = {"a": torch.tensor([2.0, 6.0]), "b": torch.tensor([1.0, 1.5, 3.0])}
    budget = Budget(lambda kept: 5.0 * kept["a"] + kept["b"], 11.0)
    options = {"comparable": True}
    plain = GlobalSelector("none").select(scores, budget, Constraints(), **options)
    fitted = GlobalSelector("none", price="fit").select(scores, budget, Constraints(), **options)
    assert plain == {"a": (0, 1), "b": (2,)}
    assert fitted == {"a": (1,), "b": (0, 1, 2)}
    # score - price * cost, equal for the first of a and the second of b at 0.125
    dear = GlobalSelector("none", price=0.3).select(scores, budget, Constraints(), **options)
    cheap = GlobalSelector("none", price=0.1).select(scores, budget, Constraints(), **options)
    assert (dear, cheap) == (fitted, plain)


def test_the_fitted_price_is_the_one_at_which_the_budget_holds():
    """Keeping every unit with score > price * cost, for all prices from low to high, gives the same sets."""
    generator = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(5, generator=generator, dtype=torch.float64) for name in "abc"}
    weights = {"a": 4.0, "b": 1.0, "c": 2.5}
    cost = lambda kept: sum(weights[name] * count for name, count in kept.items())  # noqa: E731
    checked = 0
    for price in torch.linspace(0.02, 0.6, 30).tolist():
        by_price = {n: tuple(i for i, v in enumerate(s.tolist()) if v > price * weights[n]) for n, s in scores.items()}
        if all(by_price.values()):
            budget = Budget(cost, cost({name: len(units) for name, units in by_price.items()}))
            chosen = GlobalSelector("none", price="fit").select(scores, budget, Constraints(), comparable=True)
            assert chosen == by_price
            checked += 1
    assert checked > 3


def test_costs_of_units_by_hand():
    """From all units to the fewest allowed, the other groups whole, shared by the units that go."""
    sizes = {"a": 4, "b": 3, "c": 1}
    steps = Budget(lambda kept: math.ceil(kept["a"] / 2) * kept["b"] + kept["c"], 1)
    assert unit_costs(sizes, steps, Constraints()) == {"a": 3 / 3, "b": 4 / 2, "c": 0.0}
    assert unit_costs(sizes, steps, Constraints({"a": 2})) == {"a": 3 / 2, "b": 4 / 2, "c": 0.0}


def test_prices_of_steps_and_of_nothing():
    """A step function has a price per unit all the same, and what costs nothing goes last."""
    scores = {"a": torch.tensor([0.5, 9.0, 9.0, 9.0]), "b": torch.tensor([0.1, 0.1])}
    budget = Budget(lambda kept: math.ceil(kept["a"] / 4), 1)
    kept = GlobalSelector("none", price="fit").select(scores, budget, Constraints(), comparable=True)
    assert kept == {"a": (0, 1, 2, 3), "b": (0, 1)}
    steps = Budget(lambda kept: math.ceil(kept["a"] / 2), 1)
    kept = GlobalSelector("none", price="fit").select(scores, steps, Constraints(), comparable=True)
    assert kept["b"] == (0, 1) and len(kept["a"]) == 2


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf"), "cheap", None])
def test_prices_that_make_no_sense(price):
    with pytest.raises(ValueError, match="price: expected a finite number >= 0 or 'fit'"):
        IsomorphicSelector(price=price)


def test_a_fitted_price_needs_scores_above_zero():
    scores, budget = {"a": torch.tensor([-1.0, 2.0])}, Budget(lambda kept: kept["a"], 1)
    with pytest.raises(ValueError, match="group 'a' has scores below zero"):
        GlobalSelector(price="fit").select(scores, budget, Constraints(), comparable=True)


@pytest.mark.parametrize("selector", SELECTORS)
def test_multiples_per_layer(build, image, selector):
    multiples = {"features.0": 4, "features.*": 8, "*": 3}
    result = prune(
        build("conv"), image, criterion="magnitude", selector=selector, macs=0.6, round_to=multiples, min_keep=2
    )
    for name, multiple in (("features.0", 4), ("features.4", 8), ("classifier.0", 3)):
        kept, size = result.kept[name]
        assert kept == size or kept % multiple == 0, name
        assert kept >= 2
    assert any(kept < size for kept, size in result.kept.values())


def test_constraints_by_hand():
    constraints = Constraints({"a*": 8, "b": 4}, min_keep=5)
    allowed = [constraints.allowed(*entry) for entry in (("ab", 3, 20), ("b", 3, 20), ("c", 3, 20), ("ab", 17, 20))]
    assert allowed == [8, 8, 5, 20]
    assert constraints.least({"ab": 6, "c": 3}) == {"ab": 6, "c": 3}
    with pytest.raises(ValueError, match=r"round_to\['a'\]: expected an integer >= 1, got 0"):
        Constraints({"a": 0})
    with pytest.raises(ValueError, match="round_to: 'b' matches no group; groups: ab"):
        require_reachable({"ab": 8}, Budget(lambda kept: 1.0, 1.0), constraints)


def units(limit):
    return lambda grouping: Budget(lambda kept: float(sum(kept.values())), limit, "units")


BAD = {
    "cannot be met: the closest is 3 units": units(2.0),
    r"1000 units whole .* with group 'features.0' at its minimum; a cost must not grow": lambda grouping: Budget(
        lambda kept: 1000.0 + 8 - kept["features.0"] if kept["features.0"] < 8 else 1000.0, 5000.0, "units"
    ),
    "every group at its minimum; a cost must not grow": lambda grouping: Budget(
        lambda kept: 9.0 if max(kept.values()) == 1 else 5.0, 50.0
    ),
    "the cost in J is nan": lambda grouping: Budget(lambda kept: float("nan"), 1.0, "J"),
    "the cost in J is inf": lambda grouping: Budget(lambda kept: float("inf"), 1.0, "J"),
    "limit: expected a number of units, got nan": units(float("nan")),
}


@pytest.mark.parametrize("message", BAD)
def test_budgets_no_scores_can_help(traced, message):
    grouping = find_groups(traced("conv"))
    with pytest.raises(ValueError, match=message):
        require_reachable(full_counts(grouping), BAD[message](grouping), Constraints())
    require_reachable(full_counts(grouping), units(3.0)(grouping), Constraints())


def test_budgets_are_refused_before_scoring(build, image):
    criterion = Scores(lambda grouping: {g.name: torch.rand(g.size) for g in grouping.groups})
    with pytest.raises(ValueError, match="cannot be met: the closest is 3 units"):
        prune(build("conv"), image, criterion=criterion, budget=units(2.0))
    assert criterion.calls == 0
    prune(build("conv"), image, criterion=criterion, budget=units(20.0))
    assert criterion.calls == 1


def test_classes_reach_the_selector(build, image, traced):
    """The verb hands on what `structure_classes` finds."""
    seen = []

    class Watching(Selector):
        name = "watching"

        def select(self, scores, budget, constraints, *, comparable, classes=None):
            seen.append(classes)
            return IsomorphicSelector().select(scores, budget, constraints, comparable=comparable, classes=classes)

    prune(build("concat"), image, criterion="magnitude", selector=Watching())
    assert seen == [structure_classes(find_groups(traced("concat")))]


def test_a_network_of_one_layer_has_nothing_to_give(image):
    with pytest.raises(ValueError, match="nothing can be pruned"):
        prune(nn.Conv2d(3, 4, 1), image, criterion="magnitude")
