"""Calibration: factors worked out by hand, limits of shrinkage, what is picked for measuring, and what is refused."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approx import Choice, LayerChoice, Operands
from noise_models.calibration import Calibrated, Calibration
from noise_models.candidates import Candidate, list_candidates
from noise_models.degradation import FisherDegradation
from noise_models.error_models import Sampled
from noise_models.prediction import ErrorPrediction
from noise_models.refine import near_hull, refine_candidates
from noise_models.selection import knapsack
from noise_models.sensitivity import LayerSensitivity, Refinement, Sensitivity, measure_sensitivity
from noise_models.substitution import Substitution, measure_substitutions, pick_substitutions

CHOICE = Choice("mul8u_trunc4")
sizes = st.floats(1e-6, 1e3)


def _substitutions(logs: dict[str, list[float]]) -> list[Substitution]:
    return [
        Substitution(layer, CHOICE, 10.0 ** -(k + 1), 10.0 ** -(k + 1) * math.exp(value))
        for layer, values in logs.items()
        for k, value in enumerate(values)
    ]


def _candidate(energy: float, degradation: float, operands: Operands = Operands.AFFINE) -> Candidate:
    return Candidate(Choice(f"c{energy:g}", operands), energy, degradation, ErrorPrediction.none(2))


class _Scaled(Refinement):
    """Predicted degradation by circuit, times a factor."""

    def __init__(self, table: dict[str, list[Candidate]], factor: float) -> None:
        self.known = {(name, c.choice): factor * c.degradation for name, row in table.items() for c in row}
        self.asked: list[tuple[str, LayerChoice]] = []

    def of(self, layer: str, choice: LayerChoice) -> float:
        self.asked.append((layer, choice))
        return self.known[layer, choice]  # type: ignore[index]


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(sizes, min_size=1, max_size=4), min_size=1), sizes)
def test_a_constant_factor_is_found(predicted: dict[str, list[float]], factor: float) -> None:
    given = [Substitution(name, CHOICE, p, factor * p) for name, ps in predicted.items() for p in ps]
    found = Calibration.fit(given)
    assert found.factor == pytest.approx(factor)
    for name in [*predicted, "never measured"]:
        assert found.of(name) == pytest.approx(factor)
    assert found.scatter == pytest.approx(1)


def test_shrinkage_by_hand() -> None:
    """Layers -1 and 1 on average, within variance 0.02 (one degree of freedom each), two measurements each."""
    found = Calibration.fit(_substitutions({"a": [-1.1, -0.9], "b": [1.1, 0.9]}))
    within = 2 * (0.1**2 + 0.1**2) / 2
    between = 2 - within / 2
    trust = between / (between + within / 2)
    assert math.log(found.factor) == pytest.approx(0)
    assert math.log(found.of("b")) == pytest.approx(trust)
    assert math.log(found.of("a")) == pytest.approx(-trust)
    residuals = [-1.1 + trust, -0.9 + trust, 1.1 - trust, 0.9 - trust]
    assert math.log(found.scatter) == pytest.approx(math.sqrt(np.mean(np.square(residuals))))


def test_limits_of_shrinkage() -> None:
    sure = Calibration.fit(_substitutions({"a": [-2.0, -2.0], "b": [2.0, 2.0], "c": [3.0]}))
    assert [math.log(sure.of(name)) for name in "abc"] == pytest.approx([-2, 2, 3])
    assert math.log(sure.factor) == pytest.approx(1)
    unsure = Calibration.fit(_substitutions({"a": [-2.0, 2.2], "b": [2.0, -2.0]}))
    assert unsure.of("a") == pytest.approx(unsure.factor) == pytest.approx(unsure.of("b"))
    single = Calibration.fit(_substitutions({"a": [-2.0], "b": [1.0], "c": [4.0]}))  # which scatters, nobody knows
    assert [math.log(single.of(name)) for name in "abc"] == pytest.approx([1, 1, 1])


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_layers_factor_lies_between_its_own_mean_and_the_global_one(values: list[list[float]]) -> None:
    logs = {f"l{k}": v for k, v in enumerate(values)}
    found = Calibration.fit(_substitutions(logs))
    overall = math.log(found.factor)
    for name, v in logs.items():
        low, high = sorted((overall, float(np.mean(v))))
        assert low - 1e-9 <= math.log(found.of(name)) <= high + 1e-9


def test_the_report_is_in_logarithms() -> None:
    predicted = [1e-4, 1e-3, 1e-2, 1e-1]
    powered = Calibration.fit([Substitution(f"l{k}", CHOICE, p, 3 * p**1.5) for k, p in enumerate(predicted)])
    assert powered.slope == pytest.approx(1.5)
    assert powered.rank_correlation == pytest.approx(1)
    falling = Calibration.fit([Substitution("a", CHOICE, p, 1e-5 / p) for p in predicted])
    assert falling.slope == pytest.approx(-1) and falling.rank_correlation == pytest.approx(-1)
    two = Calibration.fit(_substitutions({"a": [0.0], "b": [1.0]}))
    assert math.isnan(two.rank_correlation) and math.isnan(two.slope)


def test_calibrated_degradation_is_scaled() -> None:
    sensitivity = Sensitivity({n: LayerSensitivity(np.array([1.0, 4.0]), np.zeros(2)) for n in "ab"}, 1)
    inner = FisherDegradation(sensitivity)
    calibrated = Calibrated(inner, Calibration(2.0, {"a": 3.0}, ()))
    error = ErrorPrediction(np.zeros(2), np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    for layer, factor in (("a", 3.0), ("b", 2.0)):
        assert calibrated.of(layer, error) == pytest.approx(factor * 0.5 * (0.01 + 4 * 0.04))
        np.testing.assert_allclose(calibrated.by_channel(layer, error), factor * inner.by_channel(layer, error))
    table = {"a": [_candidate(1, 0.5)], "b": [_candidate(1, 0.5), _candidate(2, 0.0)]}
    applied = calibrated.calibration.applied(table)
    assert [c.degradation for c in applied["a"] + applied["b"]] == [1.5, 1.0, 0.0]
    with pytest.raises(ValueError, match="no layer 'c'"):
        calibrated.of("c", error)


def test_fit_refuses_what_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Calibration.fit([])
    for predicted, measured in ((0.0, 1.0), (1.0, 0.0), (1.0, math.nan), (math.inf, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="layer 'a' with 'mul8u_trunc4'.*positive and finite"):
            Calibration.fit([Substitution("a", CHOICE, predicted, measured)])


def test_picks_are_spread_and_repeat() -> None:
    row = [_candidate(k, 10.0 ** (-k / 10)) for k in range(1, 60)]
    table = {name: row for name in "abcd"}
    picked = pick_substitutions(table, 40, seed=3)
    assert picked == pick_substitutions(table, 40, seed=3) != pick_substitutions(table, 40, seed=4)
    assert len({(name, c.choice) for name, c in picked}) == 40
    assert {name: sum(n == name for n, _ in picked) for name in "abcd"} == dict.fromkeys("abcd", 10)
    logs = [math.log10(c.degradation) for _, c in picked]
    assert all(-3 <= v <= -1 for v in logs) and min(logs) < -2.5 and max(logs) > -1.5
    few = pick_substitutions({"a": row[:12], "b": []}, 40)
    assert [name for name, _ in few] == ["a"] * 3  # all there are within bounds
    with pytest.raises(ValueError, match="no candidate has a predicted degradation"):
        pick_substitutions({"a": [_candidate(1, 0.0), _candidate(2, math.inf)]}, 3)
    with pytest.raises(ValueError, match="positive number"):
        pick_substitutions(table, 0)


def test_measuring_asks_for_each_pick_once() -> None:
    table = {name: [_candidate(k, 10.0 ** (-k / 10)) for k in range(10, 30)] for name in "ab"}
    picked, judge = pick_substitutions(table, 6), _Scaled(table, 2.0)
    steps: list[tuple[int, int, str]] = []
    measured = measure_substitutions(picked, judge, lambda *step: steps.append(step))
    assert judge.asked == [(name, c.choice) for name, c in picked]
    assert [(s.layer, s.predicted) for s in measured] == [(name, c.degradation) for name, c in picked]
    assert all(s.measured == 2 * s.predicted for s in measured)
    assert [step[:2] for step in steps] == [(k, 6) for k in range(1, 7)]
    assert Calibration.fit(measured).of("a") == pytest.approx(2)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20), st.floats(1, 10))
def test_near_hull_is_below_slack_times_the_hull(points: list[tuple[float, float]], slack: float) -> None:
    row = [_candidate(e, d) for e, d in points]
    kept = near_hull(row, slack)
    assert set(map(id, near_hull(row, 1.0))) <= set(map(id, kept)) <= set(map(id, row))
    assert min(c.degradation for c in kept) == min(c.degradation for c in row)
    cheapest = min(c.energy for c in row)
    assert min(c.energy for c in kept) == cheapest
    for c in row:
        lower = [
            a.degradation + (b.degradation - a.degradation) * (c.energy - a.energy) / (b.energy - a.energy)
            for a in row
            for b in row
            if a.energy <= c.energy <= b.energy and a.energy < b.energy
        ] + [a.degradation for a in row if a.energy <= c.energy]
        if c in kept:
            assert c.degradation <= slack * min(lower) * (1 + 1e-6) + 1e-12


def test_refining_judges_only_what_matters() -> None:
    row = [_candidate(1, 0.8), _candidate(2, 0.2), _candidate(2, 0.5), _candidate(3, 0.9), _candidate(4, 0.0)]
    row[2] = _candidate(2.1, 0.3, Operands.SIGN_MAGNITUDE)
    table = {"a": row, "b": row[:2]}
    judge = _Scaled(table, 3.0)
    steps: list[tuple[int, int, str]] = []
    found = refine_candidates(table, judge, 2.0, lambda *step: steps.append(step))
    for name, expected in (("a", {1: 2.4, 2: 0.6, 2.1: 0.9, 4: 0.0}), ("b", {1: 2.4, 2: 0.6})):
        assert {c.energy: c.degradation for c in found[name]} == pytest.approx(expected)
        assert [c.energy for c in found[name]] == sorted(expected)
    assert len(judge.asked) == 6 and steps[-1] == (6, 6, "b")
    codings = [choice.operands for name, choice in judge.asked if name == "a"]
    assert sum(before != after for before, after in pairwise(codings)) == 1  # coding by coding
    assert knapsack(found).points[0].energy == 2
    with pytest.raises(ValueError, match="slack"):
        refine_candidates(table, judge, 0.5)
    with pytest.raises(ValueError, match="slack"):
        refine_candidates(table, judge, math.nan)


def test_calibrated_candidates_from_a_network(small: Any, few_circuits: Any) -> None:
    inner = FisherDegradation(measure_sensitivity(small.network, small.images))
    plain = list_candidates(small.traces, few_circuits, Sampled(), inner)
    calibration = Calibration(2.0, {"0": 5.0}, ())
    scaled = list_candidates(small.traces, few_circuits, Sampled(), Calibrated(inner, calibration))
    for name, row in calibration.applied(plain).items():
        assert [c.choice for c in row] == [c.choice for c in scaled[name]]
        assert [c.degradation for c in row] == pytest.approx([c.degradation for c in scaled[name]])
