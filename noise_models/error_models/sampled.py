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
from noise_models.error_models.coded_weights import coded_weights
from noise_models.error_models.operand_statistics import exact_outputs
from noise_models.error_models.output_moments import OutputMoments
from noise_models.prediction import ErrorPrediction, FloatArray


class Sampled(ErrorModel):
    """See the module. Final."""

    name: ClassVar[str] = "sampled"

    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        error = sampled_errors(trace, operands, table)
        samples = _samples(trace, operands, table.weight_bits)
        mean = error.mean(0)
        error -= mean
        variance = np.einsum("sc,sc->c", error, error) / len(error)
        covariance = np.einsum("sc,sc->c", error, samples.centred_outputs) / len(error)
        moments = OutputMoments(mean, variance, samples.output_mean, samples.output_variance, covariance)
        return moments.prediction(trace, samples.scale)


def sampled_errors(trace: LayerTrace, operands: Operands, table: LayerTable) -> FloatArray:
    """Error of every sampled patch in every output channel, float64 [S, C], integer units."""
    check_table(trace, operands, table)
    samples = _samples(trace, operands, table.weight_bits)
    sums = table_conv2d(samples.codes, samples.index, torch.from_numpy(table.error()), groups=trace.groups, pad_code=0)
    return sums.flatten(1).double().numpy()


@dataclass(frozen=True, eq=False)
class _Samples:
    """Patches as a batch of one-pixel images, and what does not depend on the circuit.

    codes uint8 [S, 1, 1, G * K]; index int16 [C, 1, 1, K]; centred_outputs float64 [S, C], output_mean and
    output_variance [C] in integer units; scale float64 [C], real size of one unit.
    """

    codes: torch.Tensor
    index: torch.Tensor
    centred_outputs: FloatArray
    output_mean: FloatArray
    output_variance: FloatArray
    scale: FloatArray


@lru_cache(maxsize=1)
def _samples(trace: LayerTrace, operands: Operands, bits: int) -> _Samples:
    groups, patches, fan_in = trace.patches.shape
    codes = np.ascontiguousarray(trace.patches.transpose(1, 0, 2)).reshape(patches, 1, 1, groups * fan_in)
    weights = coded_weights(trace, operands, bits)
    index = weights.rows.astype(np.int16).reshape(-1, 1, 1, fan_in)
    outputs = exact_outputs(trace, weights)
    mean = outputs.mean(0)
    outputs -= mean
    return _Samples(
        codes=torch.from_numpy(codes),
        index=torch.from_numpy(index),
        centred_outputs=outputs,
        output_mean=mean,
        output_variance=np.mean(outputs**2, 0),
        scale=weights.scale,
    )
