"""Selection against brute force, on numbers with ties and on numbers of very different size."""

import math
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approx import Assignment, Choice
from noise_models.candidates import Candidate
from noise_models.prediction import ErrorPrediction
from noise_models.selection import (
    Front,
    FrontPoint,
    best_exactly,
    cheapest_exactly,
    greedy,
    knapsack,
    refined,
    uniform,
)
from noise_models.tolerance import LayerTolerance, Tolerance

Table = dict[str, list[Candidate]]


def _candidate(name: str, energy: float, degradation: float, std: float = 0.0) -> Candidate:
    values = np.array([std])
    return Candidate(Choice(name), energy, degradation, ErrorPrediction(np.zeros(1), values, values))


def _table(rows: list[list[tuple[float, float]]]) -> Table:
    return {
        f"layer{i}": [_candidate(f"m{j}", *pair, std=min(pair[1], 1e9)) for j, pair in enumerate(row)]
        for i, row in enumerate(rows)
    }


def _all_points(table: Table) -> list[tuple[float, float]]:
    rows = [[(c.energy, c.degradation) for c in row] for row in table.values()]
    return [(math.fsum(e for e, _ in chosen), math.fsum(d for _, d in chosen)) for chosen in product(*rows)]


small = st.integers(0, 6).map(float)
ragged = st.sampled_from([0.0, 1e-9, 3e-7, 0.1, 0.2, 0.30000000000000004, 1.0, 7.0, 1e4])


def tables(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Table]:
    rows = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5)
    return st.lists(rows, min_size=1, max_size=4).map(_table)


any_table = st.one_of(tables(small), tables(ragged))


def _hull_vertices(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Strict vertices of the convex hull, by definition: sole minimum of energy + price * degradation at some price."""
    pareto = [p for p in set(points) if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)]
    vertices = []
    for p in pareto:
        lower = max(((p[1] - q[1]) / (q[0] - p[0]) for q in pareto if q[0] > p[0]), default=0.0)
        upper = min(((q[1] - p[1]) / (p[0] - q[0]) for q in pareto if q[0] < p[0]), default=math.inf)
        if lower < upper * (1 - 1e-9):
            vertices.append(p)
    return vertices


@given(tables(small))
def test_the_front_holds_every_vertex_of_the_convex_hull(table: Table) -> None:
    front = {(p.energy, p.degradation) for p in knapsack(table)}
    assert set(_hull_vertices(_all_points(table))) <= front


@given(any_table)
def test_no_choice_beats_a_point_of_the_front(table: Table) -> None:
    points = _all_points(table)
    slack = 1e-9 * max(max(map(abs, p)) for p in points)
    for mine in knapsack(table):
        for energy, degradation in points:
            better = energy <= mine.energy and degradation < mine.degradation - slack
            assert not better, (mine, energy, degradation)


@given(any_table, st.data())
def test_exact_choices_are_the_brute_force_optimum(table: Table, data: st.DataObject) -> None:
    points = _all_points(table)
    energy = data.draw(st.sampled_from(sorted(e for e, _ in points)))
    found = best_exactly(table, energy)
    assert found.energy <= energy
    assert found.degradation == pytest.approx(min(d for e, d in points if e <= energy), rel=1e-9, abs=1e-15)
    degradation = data.draw(st.sampled_from(sorted(d for _, d in points)))
    found = cheapest_exactly(table, degradation)
    assert found.degradation <= degradation
    assert found.energy == pytest.approx(min(e for e, d in points if d <= degradation), rel=1e-9, abs=1e-15)


@given(any_table)
def test_points_add_up_to_their_own_assignment(table: Table) -> None:
    for front in (knapsack(table), refined(knapsack(table), table, 3)):
        assert all(a.energy < b.energy and a.degradation > b.degradation for a, b in pairwise(front.points))
        for point in front:
            chosen = [
                next(c for c in table[name] if c.choice == choice) for name, choice in point.assignment.layers.items()
            ]
            assert list(point.assignment.layers) == list(table)
            assert point.energy == math.fsum(c.energy for c in chosen)
            assert point.degradation == math.fsum(c.degradation for c in chosen)


def test_exact_budgets_are_kept_to_the_last_digit() -> None:
    table = _table([[(0.0, 1e-9), (1e-9, 0.0)], [(1e4, 0.0)]])
    assert best_exactly(table, 1e4).energy == 1e4
    assert best_exactly(table, 1e4 + 1e-9).degradation == 0


def test_front_of_a_worked_example() -> None:
    table = _table([[(4, 0), (2, 1), (1, 5)], [(4, 0), (3, 0.1), (1, 3)]])
    assert [(p.energy, p.degradation) for p in knapsack(table)] == [(2, 8), (3, 4), (5, 1.1), (7, 0.1), (8, 0)]
    assert best_exactly(table, 4.5).degradation == 4
    assert best_exactly(table, 6).degradation == 1


def test_a_realistic_size_is_quick_and_consistent() -> None:
    random = np.random.default_rng(0)
    rows = [list(zip(random.uniform(0, 1, 200), random.lognormal(0, 4, 200), strict=True)) for _ in range(50)]
    table = _table(rows)
    front = knapsack(table)
    assert len(front) > 100
    fine = refined(front, table, 20)
    assert len(fine) > len(front)
    for point in front:
        assert fine.best(point.energy).degradation <= point.degradation


def test_candidates_of_infinite_degradation_are_never_chosen() -> None:
    table = _table([[(1, math.inf), (2, 3)]])
    assert [(p.energy, p.degradation) for p in knapsack(table)] == [(2, 3)]
    with pytest.raises(ValueError, match="'layer0'"):
        knapsack(_table([[(1, math.inf)]]))
    with pytest.raises(ValueError, match="no layers"):
        knapsack({})


def test_infeasible_budgets_say_what_is_feasible() -> None:
    table = _table([[(1, 5), (2, 3)]])
    front = knapsack(table)
    for call in (front.best, lambda e: best_exactly(table, e)):
        with pytest.raises(ValueError, match="energy <= 0.5; the least possible is 1,"):
            call(0.5)
    for call in (front.cheapest, lambda d: cheapest_exactly(table, d)):
        with pytest.raises(ValueError, match="degradation <= 2; the least possible is 3,"):
            call(2)
    assert front.best(1.9).energy == 1
    assert front.cheapest(3).energy == 2
    with pytest.raises(ValueError):
        front.best(math.nan)


def _tolerance(**layers: float) -> Tolerance:
    return Tolerance("agn", {}, {k: LayerTolerance.of_relative(v, 10.0) for k, v in layers.items()})


def test_greedy_takes_the_cheapest_within_each_layers_tolerance() -> None:
    table = _table([[(1, 9), (2, 5), (3, 0)], [(1, 9), (2, 5), (3, 0)]])
    (point,) = greedy(table, _tolerance(layer0=0.5, layer1=0.49))
    assert [c.multiplier for c in point.assignment.layers.values()] == ["m1", "m2"]
    (point,) = greedy(table, _tolerance(layer0=0.0, layer1=0.9))
    assert [c.multiplier for c in point.assignment.layers.values()] == ["m2", "m0"]
    assert len(greedy(table, _tolerance(layer0=0.5, layer1=0.49), scales=(0.1, 1, 10))) == 3


def test_greedy_without_a_fitting_circuit_names_the_layer() -> None:
    with pytest.raises(ValueError, match="'layer0'.*exact"):
        greedy(_table([[(1, 9)]]), _tolerance(layer0=0.5))
    with pytest.raises(ValueError, match="no layer 'layer0'"):
        greedy(_table([[(1, 9)]]), _tolerance(other=0.5))


@given(tables(small), st.floats(0.01, 10))
def test_greedy_never_beats_the_exact_knapsack(table: Table, scale: float) -> None:
    table = {name: [*row, _candidate("exact", 9.0, 0.0)] for name, row in table.items()}
    (point,) = greedy(table, _tolerance(**dict.fromkeys(table, scale)))
    assert best_exactly(table, point.energy).degradation <= point.degradation


def test_uniform_uses_one_multiplier_with_its_best_way_in_each_layer() -> None:
    swapped = Candidate(Choice("m0", swap=True), 1.0, 2.0, ErrorPrediction.none(1))
    table = _table([[(1, 5), (2, 1)], [(1, 5), (2, 1), (0, 0)]])
    table["layer1"].append(swapped)
    front = uniform(table)
    assert [(p.energy, p.degradation) for p in front] == [(2, 7), (4, 2)]
    assert front.points[0].assignment.layers == {"layer0": Choice("m0"), "layer1": Choice("m0", swap=True)}
    with pytest.raises(ValueError, match="no multiplier"):
        uniform({"a": [_candidate("x", 1, 1)], "b": [_candidate("y", 1, 1)]})


def test_front_survives_the_file(tmp_path: Path) -> None:
    front = knapsack(_table([[(0.1, 5), (0.2, 1 / 3)], [(1, 5), (2, 1)]]))
    front.save(tmp_path / "front.json")
    back = Front.load(tmp_path / "front.json")
    assert back.method == "knapsack"
    for mine, theirs in zip(front, back, strict=True):
        assert (mine.energy, mine.degradation) == (theirs.energy, theirs.degradation)
        assert mine.assignment.layers == theirs.assignment.layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "version"),
        ('{"version": 2}', "version"),
        ('{"version": 1, "method": "x"}', "points"),
        ('{"version": 1, "method": "x", "points": []}', "at least one"),
        ('{"version": 1, "method": "x", "points": [{"energy": 1}]}', "point 0"),
        ('{"version": 1, "method": "x", "points": [{"energy": NaN, "degradation": 0, "assignment": {}}]}', "finite"),
        ('{"version": 1, "method": "x", "points": [{"energy": 1, "degradation": 0, "assignment": {}}]}', "point 0"),
    ],
)
def test_broken_front_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "front.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Front.load(path)


def test_front_drops_what_is_beaten() -> None:
    points = [FrontPoint(e, d, Assignment()) for e, d in [(1, 5), (2, 5), (2, 4), (3, 4), (1, 6)]]
    assert [(p.energy, p.degradation) for p in Front.of("x", points)] == [(1, 5), (2, 4)]
