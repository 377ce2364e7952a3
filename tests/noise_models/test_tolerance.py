"""Tolerances: arithmetic, file, bad input; and what degradation makes of them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from noise_models.degradation import FisherDegradation, ToleranceDegradation
from noise_models.prediction import ErrorPrediction
from noise_models.sensitivity import LayerSensitivity, Sensitivity
from noise_models.testing import random_trace
from noise_models.tolerance import LayerTolerance, Tolerance


def _example() -> Tolerance:
    layers = {
        "conv1": LayerTolerance.of_relative(0.05, 2.0),
        "conv2": LayerTolerance.of_absolute(np.array([1.0, math.inf, 0.5]), 4.0),
    }
    return Tolerance("agn", {"strength": 0.2, "epochs": 3}, layers)


def test_relative_and_absolute_agree() -> None:
    tolerance = _example()
    assert tolerance["conv1"].absolute.tolist() == [0.1]
    assert tolerance["conv2"].relative.tolist() == [0.25, math.inf, 0.125]
    assert tolerance.scaled(2)["conv1"].absolute.tolist() == [0.2]
    with pytest.raises(ValueError, match="no layer 'conv3'"):
        tolerance["conv3"]
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="positive"):
            tolerance.scaled(factor)


def test_usage_is_the_mean_square_share() -> None:
    tolerance = _example()
    std = np.array([0.1, 0.2, 0.3])
    assert tolerance["conv1"].usage(std) == pytest.approx(np.mean(std**2) / 0.01)
    assert tolerance["conv2"].usage(std) == pytest.approx((0.01 + 0 + 0.36) / 3)
    assert LayerTolerance.of_relative(0.0, 1.0).usage(std) == math.inf
    assert LayerTolerance.of_relative(0.0, 1.0).usage(np.zeros(3)) == 0


def test_file_round_trip(tmp_path: Path) -> None:
    tolerance = _example()
    tolerance.save(tmp_path / "t.json")
    back = Tolerance.load(tmp_path / "t.json")
    assert (back.method, dict(back.parameters), list(back.layers)) == (
        "agn",
        dict(tolerance.parameters),
        ["conv1", "conv2"],
    )
    for name in back.layers:
        np.testing.assert_array_equal(back[name].relative, tolerance[name].relative)
        np.testing.assert_array_equal(back[name].absolute, tolerance[name].absolute)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "version"),
        ({"extra": 1}, "keys"),
        ({"layers": []}, "objects"),
        ({"layers": {"a": 3}}, "layer 'a'"),
        ({"layers": {"a": {"relative": [0.1], "absolute": []}}}, "layer 'a', absolute"),
        ({"layers": {"a": {"relative": [0.1], "absolute": [-1]}}}, "layer 'a'.*>= 0"),
        ({"layers": {"a": {"relative": [0.1, 0.2], "absolute": [1]}}}, "layer 'a'"),
        ({"layers": {"a": {"relative": ["x"], "absolute": [1]}}}, "list of numbers"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({**_example().to_json(), **change}))
    with pytest.raises(ValueError, match=message):
        Tolerance.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        Tolerance.load(path)


PREDICTION = ErrorPrediction(np.array([1.0, 2.0]), np.array([0.3, 0.4]), np.array([0.1, 0.2]))


def test_fisher_degradation_is_the_formula() -> None:
    known = Sensitivity({"a": LayerSensitivity(np.array([2.0, 4.0]), np.array([10.0, 20.0]))}, 5)
    assert FisherDegradation(known).of("a", PREDICTION) == pytest.approx(0.5 * (2 * 0.01 + 4 * 0.04))
    both = 0.5 * (2 * 0.09 + 4 * 0.16 + 10 * 1 + 20 * 4)
    assert FisherDegradation(known, corrected=False).of("a", PREDICTION) == pytest.approx(both)
    with pytest.raises(ValueError, match="no layer 'b'"):
        FisherDegradation(known).of("b", PREDICTION)


def test_tolerance_degradation_is_the_square_of_the_share() -> None:
    tolerance = Tolerance("agn", {}, {"a": LayerTolerance.of_relative(0.5, 1.0)})
    assert ToleranceDegradation(tolerance).of("a", PREDICTION) == pytest.approx(0.025 / 0.25)
    assert ToleranceDegradation(tolerance, corrected=False).of("a", PREDICTION) == pytest.approx(0.125 / 0.25)


def test_a_sensitivity_as_a_tolerance_ranks_errors_the_same() -> None:
    trace = random_trace(channels=2)
    known = Sensitivity({"a": LayerSensitivity(np.array([2.0, 0.0]), np.array([10.0, 20.0]))}, 5)
    tolerance = known.tolerance({"a": trace}, loss=0.02)
    assert math.isinf(tolerance["a"].absolute[1])
    share = ToleranceDegradation(tolerance).of("a", PREDICTION)
    assert share * 0.02 == pytest.approx(FisherDegradation(known).of("a", PREDICTION))
    with pytest.raises(ValueError, match="positive"):
        known.tolerance({"a": trace}, loss=0)
    with pytest.raises(ValueError, match="no trace"):
        known.tolerance({})


def test_predictions_are_checked() -> None:
    with pytest.raises(ValueError, match="std"):
        ErrorPrediction(np.zeros(2), np.array([1.0, np.nan]), np.zeros(2))
    with pytest.raises(ValueError, match="residual_std"):
        ErrorPrediction(np.zeros(2), np.zeros(2), np.zeros(3))
    assert PREDICTION.layer_std == pytest.approx(math.sqrt(0.125))
    assert PREDICTION.layer_residual_std == pytest.approx(math.sqrt(0.025))
