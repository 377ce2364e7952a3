"""Additivity: reported as it is, for what adds up by construction, for what saturates, and for a network."""

import math
from typing import Any

import pytest
import torch

from approx import Assignment, Choice
from noise_models.additivity import Additivity, measure_additivity
from noise_models.candidates import Candidate, list_candidates
from noise_models.degradation import FisherDegradation
from noise_models.divergence import DivergenceMeter
from noise_models.error_models import Sampled
from noise_models.prediction import ErrorPrediction
from noise_models.sensitivity import measure_sensitivity

TABLE = {
    name: [Candidate(Choice(f"{name}{k}"), k, 10 ** (-1 - k / 4), ErrorPrediction.none(1)) for k in range(9)]
    for name in "abcdefgh"
}


class _Meter:
    """Twice the predicted degradations added up, never more than a ceiling."""

    def __init__(self, ceiling: float = math.inf) -> None:
        self.known = {c.choice: 2 * c.degradation for row in TABLE.values() for c in row}
        self.ceiling, self.calls = ceiling, 0

    def of(self, assignment: Assignment) -> float:
        self.calls += 1
        assert all(choice.multiplier.startswith(name) for name, choice in assignment.layers.items())
        return min(self.ceiling, sum(self.known[choice] for choice in assignment.layers.values()))  # type: ignore[index]


def _report(meter: Any, **options: Any) -> Additivity:
    return measure_additivity(TABLE, meter, **options)


def test_what_adds_up_has_ratio_one() -> None:
    meter = _Meter()
    report = _report(meter, sets=30)
    assert report.ratio == pytest.approx(1) and report.rank_correlation == pytest.approx(1)
    assert meter.calls == 2 * 8 + 30
    assert [j.alone for j in report.joints] == sorted(j.alone for j in report.joints)
    assert {len(j.parts) for j in report.joints} >= {2, 8}
    for joint in report.joints:
        assert len({part.layer for part in joint.parts}) == len(joint.parts)
        assert joint.alone == pytest.approx(2 * joint.predicted)
        assert joint.measured == pytest.approx(joint.alone)


def test_saturation_shows_in_the_upper_bands() -> None:
    report = _report(_Meter(ceiling=0.15), sets=60)
    low, high = report.bands([0.15])
    assert low.ratio == pytest.approx(1)
    assert high.ratio < 0.8 and report.ratio < 1
    assert len(low.joints) + len(high.joints) == 60
    assert all(part.measured <= 0.15 for joint in report.joints for part in joint.parts)
    assert len(report.bands([1e-9])) == 1


def test_it_repeats_under_a_seed_and_refuses_nonsense() -> None:
    first, again, other = (_report(_Meter(), sets=5, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert math.isnan(_report(_Meter(), sets=2).rank_correlation)
    with pytest.raises(ValueError, match="two layers and one set, got 1 layers"):
        measure_additivity({"a": TABLE["a"]}, _Meter())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 sets"):
        _report(_Meter(), sets=0)
    with pytest.raises(ValueError, match="no candidate"):
        _report(_Meter(), bounds=(5.0, 6.0))


def test_measured_on_a_network(small: Any, few_circuits: Any) -> None:
    images = torch.cat(small.images)
    degradation = FisherDegradation(measure_sensitivity(small.network, small.images))
    candidates = list_candidates(small.traces, few_circuits, Sampled(), degradation)
    meter = DivergenceMeter(small.network, few_circuits, [images], images)
    report = measure_additivity(candidates, meter, sets=6, bounds=(1e-6, 0.1))
    assert len(report.joints) == 6 and 0.3 < report.ratio < 3
    for joint in report.joints:
        chosen = Assignment({part.layer: part.choice for part in joint.parts})
        assert joint.measured == meter.of(chosen)
        assert all(part.measured == meter.of(Assignment({part.layer: part.choice})) for part in joint.parts)


def test_what_does_no_harm_says_nothing_of_additivity() -> None:
    with pytest.raises(ValueError, match="measured 0 together and .* both must be positive"):
        _report(_Meter(ceiling=0.0))
