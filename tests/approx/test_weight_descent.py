"""Coordinate descent against the squared error computed plainly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.weight_descent import Descent, chance_gain


def outputs(descent: Descent, rows: torch.Tensor) -> torch.Tensor:
    """Products summed, one at a time, in float64: [S, C]."""
    groups, samples, fan_in = descent.codes.shape
    channels = len(rows)
    result = torch.zeros(samples, channels, dtype=torch.float64)
    for channel in range(channels):
        group = channel // (channels // groups)
        for k in range(fan_in):
            codes = descent.codes[group, :, k].long()
            result[:, channel] += descent.products[rows[channel, k]].double()[codes] * descent.step[channel].double()
    return result


def errors(descent: Descent, target: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Squared error of each channel with the best bias, float64 [C]."""
    left = target - outputs(descent, rows)
    return (left - left.mean(0)).square().sum(0)


def problem(
    seed: int, groups: int = 1, channels: int = 2, fan_in: int = 3, samples: int = 40
) -> tuple[Descent, torch.Tensor]:
    random = np.random.default_rng(seed)
    exact = np.multiply.outer(np.arange(-5, 6), np.arange(256))
    products = torch.from_numpy(exact + random.integers(-60, 61, exact.shape)).double()
    codes = torch.from_numpy(random.integers(0, 256, (groups, samples, fan_in)).astype(np.uint8))
    rows = torch.from_numpy(random.integers(0, 11, (channels * groups, fan_in)))
    step = torch.from_numpy(random.uniform(0.5, 2.0, channels * groups)).float()
    target = torch.from_numpy(random.normal(0, 500, (samples, channels * groups)))
    allowed = torch.ones(channels * groups, 11, dtype=torch.bool)
    frozen = torch.zeros(rows.shape, dtype=torch.bool)
    descent = Descent(codes, products, step, allowed, frozen, torch.empty(0), rows)
    left = target - outputs(descent, rows)
    residual = (left - left.mean(0)).float()
    return Descent(codes, products, step, allowed, frozen, residual, rows.clone()), target


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_the_error_falls_and_the_residual_is_kept_up_to_date(seed: int, groups: int) -> None:
    descent, target = problem(seed, groups)
    before = errors(descent, target, descent.rows)
    descent.run(1, seed)
    after = errors(descent, target, descent.rows)
    assert (after <= before).all()
    torch.testing.assert_close(descent.residual.double().square().sum(0), after, rtol=1e-3, atol=1.0)


@pytest.mark.parametrize("groups", [1, 2])
def test_no_single_change_is_left_that_pays(groups: int) -> None:
    descent, target = problem(3, groups)
    descent.run(20)
    least = errors(descent, target, descent.rows)
    for channel, k in np.ndindex(*descent.rows.shape):
        for row in range(11):
            other = descent.rows.clone()
            other[channel, k] = row
            gain = (least - errors(descent, target, other))[channel]
            assert gain <= chance_gain(40, 3) * least[channel] / 40 * 1.001 + 1.0


def test_one_weight_takes_the_best_of_all_values() -> None:
    descent, target = problem(5, channels=1, fan_in=1)
    descent.run(1)
    every = torch.stack([errors(descent, target, torch.full((1, 1), row)) for row in range(11)])
    chosen = errors(descent, target, descent.rows)
    assert chosen <= every.min() * (1 + chance_gain(40, 1) / 40) + 1.0


def test_frozen_weights_and_rows_of_others_are_left_alone() -> None:
    descent, _ = problem(7, channels=3)
    start = descent.rows.clone()
    descent.frozen[:, 0] = True
    descent.allowed[1, :] = False
    descent.allowed[1, 2:5] = True
    start[1] = descent.rows[1] = 3
    descent.run(3)
    assert torch.equal(descent.rows[:, 0], start[:, 0])
    assert set(descent.rows[1].tolist()) <= {2, 3, 4}
    assert not torch.equal(descent.rows, start)


def test_noise_is_not_fitted() -> None:
    """With a target that the weights already give, up to noise, hardly a weight moves."""
    random = np.random.default_rng(0)
    products = torch.from_numpy(np.multiply.outer(np.arange(-50, 51), np.arange(256))).double()
    codes = torch.from_numpy(random.integers(0, 256, (1, 4000, 20)).astype(np.uint8))
    rows = torch.from_numpy(random.integers(30, 71, (4, 20)))
    allowed, frozen = torch.ones(4, 101, dtype=torch.bool), torch.zeros(4, 20, dtype=torch.bool)
    noise = torch.from_numpy(random.normal(0, 1000.0, (4000, 4))).float()
    descent = Descent(codes, products, torch.ones(4), allowed, frozen, noise - noise.mean(0), rows.clone())
    descent.run(2)
    assert (descent.rows != rows).float().mean() < 0.2
    assert (descent.rows - rows).abs().max() <= 1


def test_inputs_that_hardly_vary_do_not_drown_in_rounding() -> None:
    """Large codes that are (all but) always the same: their products are large, what they explain is nothing."""
    random = np.random.default_rng(0)
    products = torch.from_numpy(np.multiply.outer(np.arange(-127, 128), np.arange(256))).double()
    codes = np.full((1, 6144, 8), 255, np.uint8)
    codes[0, :, 4:] -= random.random((6144, 4)) < 0.001
    rows = torch.from_numpy(random.integers(20, 235, (4, 8)))
    allowed, frozen = torch.ones(4, 255, dtype=torch.bool), torch.zeros(4, 8, dtype=torch.bool)
    noise = torch.from_numpy(random.normal(0, 30.0, (6144, 4))).float()
    descent = Descent(
        torch.from_numpy(codes), products, torch.ones(4), allowed, frozen, noise - noise.mean(0), rows.clone()
    )
    descent.run(1)
    assert torch.equal(descent.rows[:, :4], rows[:, :4])
    assert (descent.residual.square().mean(0) <= (noise - noise.mean(0)).square().mean(0)).all()


def test_nothing_moves_where_there_are_fewer_samples_than_weights() -> None:
    descent, _ = problem(11, fan_in=12, samples=12)
    before = descent.rows.clone()
    descent.run(2)
    assert torch.equal(descent.rows, before)
    assert chance_gain(1_000_000, 9) == pytest.approx(2.0, rel=1e-4)
    assert chance_gain(100, 50) == pytest.approx(8.0)
