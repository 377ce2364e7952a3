"""The true error, summed on the patches the trace sampled. Exact on them; no assumption but that they are typical.

It is no dearer than a model (papers/attainable.md): a bit-exact kernel sums the error table as it sums products.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from approx import LayerTrace, Operands
from approx.kernels import table_conv2d
from approx.operands import LayerTable
from noise_models.error_models.base import ErrorModel, check_table
from noise_models.error_models.operand_statistics import exact_outputs
from noise_models.prediction import ErrorPrediction, FloatArray, residual_variance


class Sampled(ErrorModel):
    """See the module. Final."""

    name: ClassVar[str] = "sampled"

    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        error = sampled_errors(trace, operands, table)
        samples = _samples(trace, operands)
        mean = error.mean(0)
        error -= mean
        variance = np.einsum("sc,sc->c", error, error) / len(error)
        covariance = np.einsum("sc,sc->c", error, samples.centred_outputs) / len(error)
        residual = residual_variance(samples.output_variance, variance, covariance)
        return ErrorPrediction(
            samples.scale * mean, samples.scale * np.sqrt(variance), samples.scale * np.sqrt(residual)
        )


def sampled_errors(trace: LayerTrace, operands: Operands, table: LayerTable) -> FloatArray:
    """Error of every sampled patch in every output channel, float64 [S, C], integer units."""
    check_table(trace, operands, table)
    samples = _samples(trace, operands)
    sums = table_conv2d(samples.codes, samples.index, torch.from_numpy(table.error()), groups=trace.groups, pad_code=0)
    return sums.flatten(1).double().numpy()


@dataclass(frozen=True, eq=False)
class _Samples:
    """Patches as a batch of one-pixel images, and what does not depend on the circuit.

    codes uint8 [S, 1, 1, G * K]; index int16 [C, 1, 1, K]; centred_outputs float64 [S, C] and output_variance [C] in
    integer units; scale float64 [C], real size of one unit.
    """

    codes: torch.Tensor
    index: torch.Tensor
    centred_outputs: FloatArray
    output_variance: FloatArray
    scale: FloatArray


@lru_cache(maxsize=1)
def _samples(trace: LayerTrace, operands: Operands) -> _Samples:
    groups, patches, fan_in = trace.patches.shape
    codes = np.ascontiguousarray(trace.patches.transpose(1, 0, 2)).reshape(patches, 1, 1, groups * fan_in)
    values, scale, _ = trace.weight_values(operands)
    index = (values - np.int16(operands.lowest)).reshape(len(values), 1, 1, fan_in)
    outputs = exact_outputs(trace, operands)
    outputs -= outputs.mean(0)
    return _Samples(
        codes=torch.from_numpy(codes),
        index=torch.from_numpy(index),
        centred_outputs=outputs,
        output_variance=np.mean(outputs**2, 0),
        scale=trace.input_scale * scale,
    )
