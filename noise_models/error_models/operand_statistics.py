"""What the model-based error models need to know of a layer's operands: histograms and their second moments.

Everything is restricted to the codes and weight values that occur. The patches enter through two moments only,
so the cost of a prediction does not depend on their number.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from approx import LayerTrace, Operands
from noise_models.error_models.coded_weights import CodedWeights, coded_weights
from noise_models.prediction import FloatArray


@dataclass(frozen=True, eq=False)
class GroupStatistics:
    """One group of a layer. X codes and W weight values occur in it.

    Attributes:
        channels: the group's output channels.
        codes: int64 [X], activation codes that occur.
        rows: int64 [W], rows of the layer table that occur.
        code_mean: p, float64 [X], mean over patches of the code histogram.
        code_second: float64 [X, X], mean over patches of the histogram times itself.
        weight_share: Q, float64 [C, W], weight histogram of each output channel.
        weights: float64 [C, W], weight value of each row minus the channel's zero point.
    """

    channels: slice
    codes: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    code_mean: FloatArray
    code_second: FloatArray
    weight_share: FloatArray
    weights: FloatArray

    @property
    def code_covariance(self) -> FloatArray:
        """float64 [X, X], covariance over patches of the code histogram."""
        return self.code_second - np.outer(self.code_mean, self.code_mean)

    def error(self, error: npt.NDArray[np.int32]) -> FloatArray:
        """The part of an error map [n_w, 256] that occurs, float64 [W, X]."""
        return error[np.ix_(self.rows, self.codes)].astype(np.float64)


@dataclass(frozen=True, eq=False)
class OperandStatistics:
    """Operands of a layer in one weight coding.

    Attributes:
        groups: one entry per group.
        scale: float64 [C], real size of one integer unit of the output.
        output_mean, output_variance: float64 [C], over the patches, of the exact integer output.
    """

    groups: tuple[GroupStatistics, ...]
    scale: FloatArray
    output_mean: FloatArray
    output_variance: FloatArray


@lru_cache(maxsize=1)
def operand_statistics(trace: LayerTrace, operands: Operands, bits: int) -> OperandStatistics:
    """Statistics of a layer; the last one is remembered, so go through circuits inside layer and coding.

    Args:
        trace: of the layer.
        operands: weight coding.
        bits: of the circuit's weight operand.
    """
    weights = coded_weights(trace, operands, bits)
    per_group = len(weights.rows) // trace.groups
    groups = tuple(
        _group(patches, weights, slice(index * per_group, (index + 1) * per_group))
        for index, patches in enumerate(trace.patches)
    )
    outputs = exact_outputs(trace, weights)
    return OperandStatistics(groups, weights.scale, outputs.mean(0), outputs.var(0))


def product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Matrix product through torch, so that `torch.set_num_threads` governs the threads of every large one."""
    return (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()


def exact_outputs(trace: LayerTrace, weights: CodedWeights) -> FloatArray:
    """Exact integer outputs of the patches, float64 [S, C], zero points taken off."""
    centred = weights.centred.reshape(trace.groups, -1, trace.fan_in)
    outputs = (trace.patches.astype(np.float64) - trace.input_zero) @ centred.transpose(0, 2, 1)  # [G, S, C / G]
    return outputs.transpose(1, 0, 2).reshape(outputs.shape[1], -1)


def _group(patches: npt.NDArray[np.uint8], weights: CodedWeights, channels: slice) -> GroupStatistics:
    (count, fan_in), share = patches.shape, weights.share[channels]
    cells = np.arange(count).repeat(fan_in) * 256 + patches.reshape(-1)
    histogram = np.bincount(cells, minlength=count * 256).reshape(count, 256) / fan_in
    codes, rows = np.flatnonzero(histogram.any(0)), np.flatnonzero(share.any(0))
    histogram = histogram[:, codes]
    return GroupStatistics(
        channels=channels,
        codes=codes,
        rows=rows,
        code_mean=histogram.mean(0),
        code_second=product(histogram.T, histogram) / count,
        weight_share=share[:, rows],
        weights=rows + weights.first[channels, None],
    )
