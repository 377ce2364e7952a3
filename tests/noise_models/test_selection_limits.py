"""Selection within limits against brute force, and what infeasible limits say."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import ChannelChoice, Choice, Operands
from noise_models.candidates import Candidate
from noise_models.prediction import ErrorPrediction
from noise_models.selection import (
    SELECTORS,
    Evolution,
    FrontPoint,
    Limits,
    Selection,
    best_exactly,
    best_within,
    cheapest_exactly,
    cheapest_within,
    constrained_front,
    knapsack,
    uniform,
)
from noise_models.selection.circuit_programme import least
from noise_models.selection.limits import areas, keeps, quantities
from noise_models.tolerance import LayerTolerance, Tolerance

Table = dict[str, list[Candidate]]
AREA = {"m0": 100.0, "m1": 60.0, "m2": 35.5}
NONE = ErrorPrediction.none(1)


def _table(rows: list[list[tuple[float, float]]]) -> Table:
    """Three circuits, each in two orders, take turns."""
    ways = [Choice(name, swap=swap) for swap in (False, True) for name in AREA]
    return {
        f"layer{i}": [Candidate(ways[j], e, d, NONE, AREA[ways[j].multiplier]) for j, (e, d) in enumerate(row)]
        for i, row in enumerate(rows)
    }


def _every_point(table: Table) -> Iterator[FrontPoint]:
    for chosen in product(*table.values()):
        yield FrontPoint.of(dict(zip(table, chosen, strict=True)))


def tables(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Table]:
    rows = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)
    return st.lists(rows, min_size=1, max_size=4).map(_table)


small = st.integers(0, 6).map(float)
ragged = st.sampled_from([0.0, 1e-11, 1e-9, 3e-7, 0.1, 0.2, 0.30000000000000004, 1.0, 7.0, 1e3])
any_table = st.one_of(tables(small), tables(ragged))


@settings(max_examples=60)
@given(any_table, st.data())
def test_choices_within_limits_are_the_brute_force_optimum(table: Table, data: st.DataObject) -> None:
    every = [quantities(p, AREA) for p in _every_point(table)]
    some = data.draw(st.sampled_from(every))
    names = data.draw(st.sets(st.sampled_from(sorted(some))))
    bounds = {name: some[name] for name in names}
    fitting = [r for r in every if all(r[name] <= bound for name, bound in bounds.items())]
    limits = Limits.from_json(bounds)
    for solve, objective in ((cheapest_within, "energy"), (best_within, "degradation")):
        found = quantities(solve(table, limits), AREA)
        assert all(found[name] <= bound for name, bound in bounds.items())
        assert found[objective] == pytest.approx(min(r[objective] for r in fitting), rel=1e-9, abs=1e-15)


@settings(max_examples=40)
@given(any_table, st.data())
def test_infeasible_limits_say_the_nearest_feasible_ones(table: Table, data: st.DataObject) -> None:
    every = [quantities(p, AREA) for p in _every_point(table)]
    bounds = {name: data.draw(st.sampled_from(every))[name] for name in ("degradation", "circuits", "area_um2")}
    if any(all(r[name] <= bound for name, bound in bounds.items()) for r in every):
        return
    with pytest.raises(ValueError, match="no choice keeps") as caught:
        cheapest_within(table, Limits.from_json(bounds))
    said = {name: float(value) for name, value in re.findall(r"(\w+) of at least ([\d.e+-]*\d)", str(caught.value))}
    for name in bounds:
        others = {k: v for k, v in bounds.items() if k != name}
        nearest = [r[name] for r in every if all(r[k] <= v for k, v in others.items())]
        assert (name in said) == bool(nearest)
        if nearest:
            assert said[name] == pytest.approx(min(nearest), rel=1e-5)
            cheapest_within(table, Limits.from_json({**others, name: said[name]}))


@settings(max_examples=20)
@given(any_table, st.integers(1, 3), st.booleans())
def test_the_front_within_limits_keeps_them_and_knapsack_never_beats_it(table: Table, most: int, area: bool) -> None:
    every = [p for p in _every_point(table) if quantities(p, AREA)["circuits"] <= most]
    limits = Limits(circuits=most, area_um2=200.0 if area else None)
    every = [p for p in every if not area or quantities(p, AREA)["area_um2"] <= 200.0]
    if not every:
        return
    front = constrained_front(table, limits, 4)
    assert all(a.energy < b.energy and a.degradation > b.degradation for a, b in pairwise(front.points))
    for point in front:
        assert quantities(point, AREA)["circuits"] <= most
    assert front.points[0].energy == pytest.approx(min(p.energy for p in every), rel=1e-9)
    assert front.points[-1].degradation == pytest.approx(min(p.degradation for p in every), rel=1e-9)
    for point in knapsack(table):
        if any(p.energy == point.energy and p.degradation == point.degradation for p in every):
            assert front.best(point.energy).degradation <= point.degradation


def _random_table(layers: int, circuits: int, seed: int = 0) -> Table:
    """Degradations over eleven decades, the better circuits dearer, as in practice."""
    random = np.random.default_rng(seed)
    energy = np.sort(random.uniform(0.03, 1, circuits))
    share, decay = random.dirichlet(np.ones(layers)), np.exp(-25 * energy)
    degradation = 1e3 * random.lognormal(0, 1.5, (layers, 1)) * decay * random.lognormal(0, 1, (layers, circuits))
    return {
        f"layer{i}": [
            Candidate(Choice(f"m{j}"), share[i] * energy[j], degradation[i, j], NONE, 50.0 + j) for j in range(circuits)
        ]
        for i in range(layers)
    }


def test_without_shared_limits_it_is_the_exact_knapsack() -> None:
    table = _random_table(12, 15)
    front = knapsack(table)
    for budget in np.geomspace(front.points[-1].degradation * 1.01, front.points[0].degradation, 5):
        mine = cheapest_within(table, Limits(degradation=float(budget)))
        assert mine.energy == pytest.approx(cheapest_exactly(table, float(budget)).energy, rel=1e-9)
        back = best_within(table, Limits(energy=mine.energy))
        assert back.degradation == pytest.approx(best_exactly(table, mine.energy).degradation, rel=1e-9)


def test_two_circuits_of_a_large_table_are_the_best_pair() -> None:
    table = _random_table(10, 8, seed=1)
    budget = knapsack(table).best(0.4).degradation
    pairs = [
        {name: [c for c in row if c.choice.multiplier in pair] for name, row in table.items()} for pair in _pairs(8)
    ]
    best = min(cheapest_exactly(t, budget).energy for t in pairs if knapsack(t).points[-1].degradation <= budget)
    mine = cheapest_within(table, Limits(degradation=budget, circuits=2))
    assert mine.energy == pytest.approx(best, rel=1e-9)
    front = constrained_front(table, Limits(circuits=2), 6)
    assert front.cheapest(budget).energy >= mine.energy * (1 - 1e-9)
    assert constrained_front(table, Limits(circuits=2), 6).to_json() == front.to_json()


def _pairs(count: int) -> list[set[str]]:
    return [{f"m{i}", f"m{j}"} for i in range(count) for j in range(i)]


def test_one_circuit_is_never_worse_than_uniform_and_the_front_says_so_in_its_file() -> None:
    table = _random_table(6, 9, seed=2)
    front = constrained_front(table, Limits(circuits=1), 40)
    assert all(len({c.multiplier for c in p.assignment.layers.values()}) == 1 for p in front)
    for point in uniform(table):
        assert cheapest_within(table, Limits(circuits=1, degradation=point.degradation)).energy <= point.energy
    assert type(front).from_json(front.to_json()).to_json() == front.to_json()


def test_pins_hold_an_exact_name_over_a_pattern() -> None:
    table = _table([[(1, 9), (2, 5), (3, 0)] * 2, [(1, 9), (2, 5), (3, 0)] * 2, [(1, 9), (2, 5), (3, 0)]])
    limits = Limits(pins={"layer*": "m1", "layer1": Choice("m2", swap=True)})
    for point in constrained_front(table, limits):
        assert [c.multiplier for c in point.assignment.layers.values()] == ["m1", "m2", "m1"]
        assert point.assignment.layers["layer1"].swap
    assert SELECTORS["knapsack"](Selection(table, limits)).to_json() == knapsack(limits.rows(table)).to_json()
    with pytest.raises(ValueError, match="pins: .*'layr0'.*layer0"):
        cheapest_within(table, Limits(pins={"layr0": "m1"}))
    with pytest.raises(ValueError, match="'layer2' has no candidate 'm7'; its circuits are .*m0"):
        cheapest_within(table, Limits(pins={"layer2": "m7"}))
    with pytest.raises(ValueError, match="circuits <= 1.*least possible is 2"):
        cheapest_within(table, Limits(pins=limits.pins, circuits=1))


def test_a_layer_of_two_circuits_uses_both() -> None:
    mixed = Candidate(ChannelChoice(("m0", "m1", "m0")), 1.0, 0.0, NONE)
    table = {
        "a": [mixed, Candidate(Choice("m0"), 2.0, 0.0, NONE, AREA["m0"])],
        "b": _table([[(1, 0), (1, 0)]])["layer0"],
    }
    assert cheapest_within(table, Limits(circuits=2)).energy == 2
    assert cheapest_within(table, Limits(circuits=1)).energy == 3
    assert cheapest_within(table, Limits(area_um2=160)).energy == 2
    assert cheapest_within(table, Limits(area_um2=159.9)).energy == 3


def test_a_bound_that_leaves_out_what_another_needs_is_infeasible_at_once() -> None:
    table = _random_table(20, 20)
    with pytest.raises(ValueError, match=r"no choice keeps energy <= 0.2 and .*; the nearest that is possible"):
        cheapest_within(table, Limits(energy=0.2, degradation=0.1 * knapsack(table).best(0.2).degradation))


def test_areas_that_are_needed_and_not_known_are_refused_by_name() -> None:
    table = {"a": [Candidate(Choice("known"), 1.0, 0.0, NONE, 7.0), Candidate(Choice("vague"), 1.0, 0.0, NONE)]}
    assert areas({"a": table["a"][:1]}) == {"known": 7.0}
    for call in (cheapest_within, constrained_front):
        with pytest.raises(ValueError, match=r"\['vague'\] is not known"):
            call(table, Limits(area_um2=10.0))
    assert cheapest_within(table, Limits(circuits=1)).energy == 1


def test_limits_that_clash_in_several_ways_say_so() -> None:
    table = _table([[(1, 9), (2, 5)], [(1, 9), (2, 5)]])
    with pytest.raises(ValueError, match="relax more than one.*energy 2, degradation 10"):
        cheapest_within(table, Limits(energy=1, degradation=9))
    with pytest.raises(ValueError, match="degradation <= 9; the least possible is 10,"):
        constrained_front(table, Limits(degradation=9))


def test_bounds_that_only_clash_together_say_so() -> None:
    """The cheap circuits degrade too much and the exact one needs too much; all others need too much together."""
    middle = [Candidate(Choice(f"m{j}"), 5 + j / 100, 1 - j / 100, NONE) for j in range(12)]
    row = [Candidate(Choice("cheap"), 0.0, 10.0, NONE), *middle, Candidate(Choice("exact"), 10.0, 0.0, NONE)]
    table = {f"l{i}": row for i in range(3)}
    for solve in (cheapest_within, best_within):
        with pytest.raises(ValueError, match="energy <= 9 and degradation <= 4.5; .*: energy of at least 15, or degr"):
            solve(table, Limits(energy=9, degradation=4.5))


def test_a_programme_that_presolving_calls_infeasible_is_solved() -> None:
    """HiGHS 1.15.1 does so with presolve; the choice of c3, c3 and c4 keeps everything and degrades nothing."""

    def row(*ways: tuple[str, float, float]) -> list[Candidate]:
        return [Candidate(ChannelChoice(tuple(names.split())), e, d, NONE) for names, e, d in ways]

    table = {
        "l0": row(("c3", 3.0, 0.0), ("c0", 5.0, 0.01), ("c0", 6.0, 0.0)),
        "l1": row(("c4 c1 c0", 2.0, 0.0), ("c1", 6.0, 0.0), ("c3", 7.0, 0.0)),
        "l2": row(("c4", 0.6, 0.0), ("c3 c4 c2", 1.0, 0.0), ("c1 c0", 6.0, 0.0)),
    }
    area, bounds = {"c0": 3.6, "c1": 4.8, "c2": 4.2, "c3": 2.0, "c4": 1.2}, {"energy": 12.0, "area_um2": 8.1}
    for degradation in (0.3, 0.0):
        point = least(table, area, "degradation", {**bounds, "degradation": degradation})
        assert point is not None and point.degradation == 0
        assert keeps(point, bounds, area)
    assert least(table, area, "energy", {**bounds, "degradation": 0.3, "area_um2": 1.0}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"energy": float("nan")},
        {"degradation": -1.0},
        {"degradation": float("inf")},
        {"circuits": 0},
        {"circuits": 1.5},
        {"circuits": True},
        {"area_um2": "7"},
        {"area_um2": 0},
        {"budget": 1},
        {"pins": {"a": 3}},
        {"pins": {"a": {"multiplier": "m", "way": 1}}},
        [],
    ],
)
def test_impossible_limits_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^choice\.json[:,]"):
        Limits.from_json(wrong, "choice.json")


def test_limits_survive_their_json() -> None:
    pins = {"a": "m0", "b*": Choice("m1", Operands.AFFINE, True), "c": ChannelChoice(("m0", "m1"))}
    limits = Limits(energy=0.5, degradation=0.1, circuits=3, area_um2=9.5, pins=pins)
    assert Limits.from_json(json.loads(json.dumps(limits.to_json()))) == limits
    assert Limits.from_json(Limits().to_json()) == Limits()


@pytest.mark.parametrize("method", sorted(SELECTORS))
def test_every_method_keeps_the_limits_or_says_what_is_possible(method: str) -> None:
    table = _random_table(4, 6, seed=3)
    table = {name: [*row, Candidate(Choice("exact"), 1.0, 0.0, NONE, 90.0)] for name, row in table.items()}
    tolerance = Tolerance("agn", {}, {name: LayerTolerance.of_relative(0.1, 1.0) for name in table})
    evolution = Evolution(200, 20)
    limits = Limits(circuits=2, degradation=knapsack(table).points[0].degradation)
    area = areas(table)
    for point in SELECTORS[method](Selection(table, limits, tolerance, evolution)):
        assert keeps(point, limits.bounds, area)
    for impossible in (Limits(energy=1e-6), Limits(area_um2=1.0), Limits(circuits=1, area_um2=2.0)):
        with pytest.raises(ValueError, match="no choice .*keeps .*(least|nearest) (that is )?possible"):
            SELECTORS[method](Selection(table, impossible, tolerance, evolution))


def test_the_greedy_matching_needs_a_tolerance() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        SELECTORS["greedy"](Selection(_table([[(1, 0)]])))
