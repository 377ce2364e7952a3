"""The reference methods: NSGA-II and QoS-Nets."""

import logging
import math

import numpy as np
import pytest

from approx import Assignment, Choice
from noise_models.candidates import Candidate
from noise_models.prediction import ErrorPrediction
from noise_models.selection import Evolution, Limits, best_exactly, knapsack, nsga2, qos_nets
from noise_models.selection.qos_nets import _vector
from noise_models.tolerance import LayerTolerance, Tolerance

Table = dict[str, list[Candidate]]


def _candidate(name: str, energy: float, degradation: float, std: float = 0.0) -> Candidate:
    values = np.array([std])
    return Candidate(Choice(name), energy, degradation, ErrorPrediction(np.zeros(1), values, values))


def _trade_off(layers: int, circuits: int) -> Table:
    """Layers of different worth, circuits of energy j with error 2^-j and the last one exact."""
    stds = [2.0**-j for j in range(circuits - 1)] + [0.0]
    return {
        f"layer{i}": [_candidate(f"m{j}", (j + 1) * (i + 1), std**2 / (i + 1), std) for j, std in enumerate(stds)]
        for i in range(layers)
    }


def test_nsga2_finds_the_whole_front_of_a_small_table() -> None:
    table = _trade_off(2, 3)
    found = [(p.energy, p.degradation) for p in nsga2(table, evolution=Evolution(300, 20))]
    assert {(p.energy, p.degradation) for p in knapsack(table)} <= set(found)


def test_nsga2_is_repeatable_improves_and_never_beats_the_exact_front() -> None:
    table = _trade_off(8, 6)
    short, long, again = (nsga2(table, evolution=Evolution(n, 20, seed=1)) for n in (40, 600, 600))
    assert long.to_json() == again.to_json()
    assert long.to_json() != nsga2(table, evolution=Evolution(600, 20, seed=2)).to_json()
    for point in long:
        assert best_exactly(table, point.energy).degradation <= point.degradation * (1 + 1e-12)
    middle = (short.points[0].energy + short.points[-1].energy) / 2
    assert long.best(middle).degradation < short.best(middle).degradation


def test_nsga2_keeps_limits_and_pins() -> None:
    table = _trade_off(4, 5)
    limits = Limits(circuits=2, degradation=1.0, pins={"layer0": "m4"})
    front = nsga2(table, limits, Evolution(600, 20))
    for point in front:
        assert len({c.multiplier for c in point.assignment.layers.values()}) <= 2
        assert point.degradation <= 1.0
        assert point.assignment.layers["layer0"] == Choice("m4")
    with pytest.raises(ValueError, match="degradation <= 0.1 .*nearest"):
        nsga2(table, Limits(circuits=1, degradation=0.1, pins={"layer0": "m0"}))
    with pytest.raises(ValueError, match="no choice keeps energy <= 9.5; the least possible is 10,"):
        nsga2(table, Limits(energy=9.5))
    with pytest.raises(ValueError, match="no choice that nsga2 looked at keeps energy <= 78.5"):
        nsga2(_trade_off(12, 9), Limits(energy=78.5), Evolution(1))  # there is one choice that does, of 282 billion


def test_nsga2_takes_measured_degradations_and_says_how_far_it_is() -> None:
    table, seen, steps = _trade_off(3, 4), [], []

    def measure(assignment: Assignment) -> float:
        seen.append(assignment)
        return float(sum(c.multiplier != "m2" for c in assignment.layers.values()))

    front = nsga2(table, Limits(degradation=0.5), Evolution(400, 20), measure, lambda *step: steps.append(step))
    assert len(seen) == 400
    assert steps[-1] == (400, 400, "nsga2")
    assert [set(p.assignment.layers.values()) for p in front] == [{Choice("m2")}]
    with pytest.raises(ValueError, match="finite"):
        nsga2(table, evaluate=lambda _: math.nan)
    with pytest.raises(ValueError, match="evaluations >= 1"):
        Evolution(0)


def test_nsga2_leaves_optunas_log_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO):
        nsga2(_trade_off(2, 2), evolution=Evolution(5))
    assert optuna.logging.get_verbosity() == before
    assert not caplog.records


def _tolerance(**layers: float) -> Tolerance:
    return Tolerance("agn", {}, {k: LayerTolerance.of_relative(v, 1.0) for k, v in layers.items()})


def test_qos_nets_with_a_cluster_for_each_row_is_the_greedy_matching() -> None:
    table = _trade_off(2, 4)
    (point,) = qos_nets(table, _tolerance(layer0=0.5, layer1=0.49), 2, scales=(1.0,))
    assert [c.multiplier for c in point.assignment.layers.values()] == ["m1", "m2"]


def test_qos_nets_shares_circuits_between_layers_and_operating_points() -> None:
    table = _trade_off(6, 7)
    tolerance = _tolerance(**{name: 0.03 * (i + 1) for i, name in enumerate(table)})
    front = qos_nets(table, tolerance, 3)
    assert 1 <= len({c.multiplier for p in front for c in p.assignment.layers.values()}) <= 3
    assert front.to_json() == qos_nets(table, tolerance, 3).to_json()
    single = qos_nets(table, tolerance, 1)
    assert len(single) == 1
    for point in front:
        assert best_exactly(table, point.energy).degradation <= point.degradation * (1 + 1e-12)


def test_qos_nets_compresses_above_one_only() -> None:
    row = {c.choice: c for c in (_candidate("a", 1, 0, 0.5), _candidate("b", 1, 0, 1.0), _candidate("c", 1, 0, math.e))}
    assert _vector(row, list(row), _tolerance(l=1.0), "l") == pytest.approx([0.5, 1.0, 2.0])
    assert np.isfinite(_vector(row, list(row), _tolerance(l=0.0), "l")).all()


def test_qos_nets_refuses_what_it_cannot_do() -> None:
    inexact = {"layer0": [_candidate("m0", 1, 9, 5.0)]}
    with pytest.raises(ValueError, match="no circuit suits.*exact"):
        qos_nets(inexact, _tolerance(layer0=0.1), 1)
    with pytest.raises(ValueError, match="1 .. 1 x 3"):
        qos_nets(inexact, _tolerance(layer0=0.1), 4)
    with pytest.raises(ValueError, match="every layer"):
        qos_nets({"a": [_candidate("x", 1, 1)], "b": [_candidate("y", 1, 1)]}, _tolerance(a=1.0, b=1.0), 1)
