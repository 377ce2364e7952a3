"""Weights of a layer as rows of a circuit's table, for circuits of any operand width."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from approx import LayerTrace, Operands
from noise_models.prediction import FloatArray


@dataclass(frozen=True, eq=False)
class CodedWeights:
    """Integer weights of a layer in one coding.

    Attributes:
        rows: int64 [C, K], row of the layer table that each weight selects.
        centred: float64 [C, K], weight value minus the channel's zero point.
        share: float64 [C, n_w], Q: how much of each output channel's weights each row makes up.
        first: float64 [C], weight value of row 0 minus the channel's zero point.
        scale: float64 [C], real size of one integer unit of the output.
    """

    rows: npt.NDArray[np.int64]
    centred: FloatArray
    share: FloatArray
    first: FloatArray
    scale: FloatArray


@lru_cache(maxsize=1)
def coded_weights(trace: LayerTrace, operands: Operands, bits: int) -> CodedWeights:
    """The weights for circuits with so many bits on the weight's side; the last ones are remembered."""
    values, scale, zero = trace.weight_values(operands, bits)
    lowest, _ = operands.span(bits)
    rows, first = values.astype(np.int64) - lowest, (lowest - zero).astype(np.float64)
    share = trace.weight_histograms(operands, bits)
    return CodedWeights(rows, rows + first[:, None], share, first, trace.input_scale * scale)
