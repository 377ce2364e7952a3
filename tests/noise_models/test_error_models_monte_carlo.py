"""Monte-Carlo model: against binomial sums by hand, the closed form it estimates, and its own seed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import LayerTrace, Operands
from noise_models.error_models import ErrorModel, SingleDistribution, monte_carlo
from noise_models.error_models.monte_carlo import MonteCarlo
from noise_models.prediction import ErrorPrediction
from noise_models.testing import ErrorModelCases, random_error, random_trace, table_of_error


class TestMonteCarlo(ErrorModelCases):
    def model(self) -> ErrorModel:
        return MonteCarlo(runs=50)


def _predict(trace: LayerTrace, runs: int = 300, seed: int = 0) -> ErrorPrediction:
    operands = Operands.SIGN_MAGNITUDE
    return MonteCarlo(runs, seed).predict(trace, operands, table_of_error(operands, random_error(operands)))


def _integer_layer(codes: np.ndarray, weight: np.ndarray) -> LayerTrace:
    """One unit of the output is worth 1: weights are integers that reach 127, the input scale is 1."""
    channels = np.ones(len(weight))
    return LayerTrace("integer", 1, codes.astype(np.uint8), weight.astype(np.float32), 1.0, 0, 1.0, channels)


def test_errs_where_a_quarter_of_the_products_errs_like_a_binomial() -> None:
    """Half the codes are 9, half the weights 127, and only 127 * 9 is wrong: a product errs with chance 1/4."""
    codes = np.tile([9, 0], 20)[None, None]
    trace = _integer_layer(codes, np.tile([127, -127], 20)[None])
    error = np.zeros((255, 256), dtype=int)
    error[127 + 127, 9] = 10
    runs, n = 20_000, 40
    prediction = MonteCarlo(runs).predict(
        trace, Operands.SIGN_MAGNITUDE, table_of_error(Operands.SIGN_MAGNITUDE, error)
    )
    std = 10 * np.sqrt(n * 0.25 * 0.75)
    assert prediction.mean[0] == pytest.approx(10 * n * 0.25, abs=4 * std / np.sqrt(runs))
    assert prediction.std[0] == pytest.approx(std, rel=4 / np.sqrt(2 * runs))
    assert prediction.residual_std[0] == prediction.std[0]


def test_sums_of_the_largest_errors_do_not_overflow() -> None:
    trace = _integer_layer(np.full((1, 1, 40_000), 255), np.full((1, 40_000), 127))
    operands, error = Operands.SIGN_MAGNITUDE_9, np.full((511, 256), -65_025)
    prediction = MonteCarlo(runs=2).predict(trace, operands, table_of_error(operands, error))
    unit = 127 / 255  # the weights are coded as 255
    assert prediction.mean[0] == pytest.approx(-65_025 * 40_000 * unit)
    assert prediction.std[0] == 0


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    operands=st.sampled_from(list(Operands)),
    groups=st.sampled_from([1, 2]),
    fan_in=st.integers(1, 30),
)
def test_estimates_the_single_distribution(seed: int, operands: Operands, groups: int, fan_in: int) -> None:
    trace = random_trace(seed, groups=groups, fan_in=fan_in)
    table = table_of_error(operands, random_error(operands, seed))
    runs = 4000
    drawn = MonteCarlo(runs, seed).predict(trace, operands, table)
    closed = SingleDistribution().predict(trace, operands, table)
    np.testing.assert_allclose(drawn.std, closed.std, rtol=6 / np.sqrt(2 * runs))
    np.testing.assert_allclose(drawn.mean, closed.mean, atol=6 * closed.std.max() / np.sqrt(runs))


def test_the_seed_alone_decides() -> None:
    trace = random_trace(1)
    np.random.seed(0)
    first = _predict(trace, seed=3)
    np.random.seed(1)
    _predict(trace, seed=4)
    np.testing.assert_array_equal(_predict(trace, seed=3).std, first.std)
    assert _predict(trace, seed=4).std[0] != first.std[0]


def test_circuits_are_compared_on_the_same_draw() -> None:
    trace, operands = random_trace(2), Operands.AFFINE
    error, other = random_error(operands, 0), random_error(operands, 1)
    means = [MonteCarlo(60).predict(trace, operands, table_of_error(operands, e)).mean for e in (error, other)]
    both = MonteCarlo(60).predict(trace, operands, table_of_error(operands, error + other))
    np.testing.assert_allclose(both.mean, means[0] + means[1])


def test_how_many_products_are_looked_up_at_a_time_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _predict(random_trace(5, fan_in=12))
    for block in (1, 12, 100):
        monkeypatch.setattr(monte_carlo, "BLOCK", block)
        np.testing.assert_array_equal(_predict(random_trace(5, fan_in=12)).std, whole.std)


def test_weights_of_all_channels_are_drawn_alike() -> None:
    """p x q is of the whole layer: exchanging channels changes nothing but the draw's luck."""
    trace = random_trace(7)
    turned = replace(trace, weight=trace.weight[::-1].copy())
    first, second = _predict(trace, 20_000), _predict(turned, 20_000)
    unit = trace.weight_values(Operands.SIGN_MAGNITUDE)[1]
    np.testing.assert_allclose(first.std / unit, second.std / unit[::-1], rtol=0.03)


@pytest.mark.parametrize(("runs", "seed"), [(1, 0), (0, 0), (-5, 0), (10, -1)])
def test_refuses_what_it_cannot_draw(runs: int, seed: int) -> None:
    with pytest.raises(ValueError, match=f"runs >= 2 and seed >= 0, got runs={runs}, seed={seed}"):
        MonteCarlo(runs, seed)
