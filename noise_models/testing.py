"""Conformance suite of error models, for members of the house and for anybody's own.

class TestMine(ErrorModelCases):
    def model(self) -> ErrorModel:
        return Mine()
"""

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from approx import LayerTrace, Operands
from approx.operands import LayerTable
from approx.quantizer import quantise_weight
from noise_models.error_models import ErrorModel


def random_trace(
    seed: int = 0, groups: int = 1, channels: int = 4, fan_in: int = 12, patches: int = 16, macs: int = 1000
) -> LayerTrace:
    """A made-up layer: `channels` output channels in all, codes that belong together patch by patch."""
    random = np.random.default_rng(seed)
    level = random.uniform(10, 200, (groups, patches, 1))
    codes = np.clip(random.normal(level, 30, (groups, patches, fan_in)), 0, 255).astype(np.uint8)
    weight = random.normal(random.normal(0, 0.3, (channels, 1)), 1.0, (channels, fan_in)).astype(np.float32)
    return LayerTrace(
        name=f"layer{seed}",
        macs=macs,
        patches=codes,
        weight=weight,
        input_scale=0.02,
        input_zero=3,
        accumulator_std=5.0,
        channel_std=np.full(channels, 5.0),
    )


def table_of_error(operands: Operands, error: npt.NDArray[np.integer] | int, bits: int = 8) -> LayerTable:
    """The exact layer table of a coding plus an error map [n_w, 256], for so many bits on the weight's side."""
    lowest, highest = operands.span(bits)
    weights = np.arange(lowest, highest + 1)[:, None]
    return LayerTable((weights * np.arange(256) + error).astype(np.int32), -lowest, weight_bits=bits)


def random_error(operands: Operands, seed: int = 0, largest: int = 500, bits: int = 8) -> npt.NDArray[np.int64]:
    """An error map [n_w, 256] without structure, for so many bits on the weight's side."""
    lowest, highest = operands.span(bits)
    return np.random.default_rng(seed).integers(-largest, largest + 1, (highest - lowest + 1, 256))


class ErrorModelCases(ABC):
    """What holds for every error model. Subclass it in a test file and override `model`."""

    @abstractmethod
    def model(self) -> ErrorModel:
        """The model to be tested."""

    def test_the_exact_product_has_no_error(self) -> None:
        for operands in Operands:
            prediction = self.model().predict(random_trace(), operands, table_of_error(operands, 0))
            for moment in (prediction.mean, prediction.std, prediction.residual_std):
                assert moment.shape == (4,)
                assert not moment.any()

    def test_a_constant_error_is_all_mean(self) -> None:
        trace = random_trace(1)
        for operands in Operands:
            prediction = self.model().predict(trace, operands, table_of_error(operands, 7))
            scale = trace.input_scale * trace.weight_values(operands)[1]
            np.testing.assert_allclose(prediction.mean, 7 * trace.fan_in * scale, rtol=1e-5)
            np.testing.assert_allclose(prediction.std, 0, atol=1e-4 * np.abs(prediction.mean).max())

    def test_a_narrow_circuit_meets_narrow_weights(self) -> None:
        trace = random_trace(6)
        for operands in Operands:
            prediction = self.model().predict(trace, operands, table_of_error(operands, -5, bits=4))
            scale = quantise_weight(torch.from_numpy(trace.weight), operands, bits=4)[1].numpy()
            np.testing.assert_allclose(prediction.mean, -5 * trace.fan_in * trace.input_scale * scale, rtol=1e-5)

    def test_a_circuit_too_narrow_for_the_codes_is_refused(self) -> None:
        table = replace(table_of_error(Operands.AFFINE, 0), code_bits=4)
        try:
            self.model().predict(random_trace(), Operands.AFFINE, table)
        except ValueError as error:
            assert "bits=4" in str(error) and "layer0" in str(error)
        else:
            raise AssertionError("expected a ValueError")

    def test_moments_grow_with_the_error(self) -> None:
        trace, operands = random_trace(2, groups=2), Operands.SIGN_MAGNITUDE
        error = random_error(operands, largest=20)
        small, large = (self.model().predict(trace, operands, table_of_error(operands, k * error)) for k in (1, 3))
        np.testing.assert_allclose(large.mean, 3 * small.mean, rtol=1e-6)
        np.testing.assert_allclose(large.std, 3 * small.std, rtol=1e-6)

    def test_errors_of_operands_that_never_occur_do_not_count(self) -> None:
        trace, operands = random_trace(3), Operands.AFFINE
        seen = np.zeros((256, 256), dtype=bool)
        seen[np.ix_(np.unique(trace.weight_values(operands)[0]), np.unique(trace.patches))] = True
        prediction = self.model().predict(trace, operands, table_of_error(operands, np.where(seen, 0, 999)))
        assert not prediction.std.any() and not prediction.mean.any()

    def test_correction_never_makes_it_worse(self) -> None:
        for seed, operands in enumerate(Operands):
            error = random_error(operands, seed, largest=3000)
            prediction = self.model().predict(random_trace(seed), operands, table_of_error(operands, error))
            assert (prediction.residual_std <= prediction.std * (1 + 1e-9)).all()
            assert (prediction.residual_std >= 0).all()

    def test_predicting_twice_gives_the_same(self) -> None:
        operands = Operands.SIGNED
        table = table_of_error(operands, random_error(operands))
        first = self.model().predict(random_trace(4), operands, table)
        self.model().predict(random_trace(5), operands, table)
        again = self.model().predict(random_trace(4), operands, table)
        np.testing.assert_array_equal(first.std, again.std)
        np.testing.assert_array_equal(first.residual_std, again.residual_std)

    def test_a_table_of_another_coding_is_refused(self) -> None:
        try:
            self.model().predict(random_trace(), Operands.AFFINE, table_of_error(Operands.SIGNED, 0))
        except ValueError as error:
            assert "affine" in str(error) and "layer0" in str(error)
        else:
            raise AssertionError("expected a ValueError")
