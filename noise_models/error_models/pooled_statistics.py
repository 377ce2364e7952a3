"""Operand histograms of a layer as the published models see them: weights pooled over all output channels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from approx import LayerTrace, Operands
from noise_models.error_models.coded_weights import coded_weights
from noise_models.prediction import FloatArray


@dataclass(frozen=True, eq=False)
class PooledStatistics:
    """Operands of a layer in one weight coding.

    Attributes:
        patch_histograms: P, float64 [G * S, 256]; patches of all groups.
        weight_share: q, float64 [n_w].
        scale: float64 [C], real size of one integer unit of the output; [1] of a product of two activations.
    """

    patch_histograms: FloatArray
    weight_share: FloatArray
    scale: FloatArray


@lru_cache(maxsize=1)
def pooled_statistics(trace: LayerTrace, operands: Operands, bits: int) -> PooledStatistics:
    """Statistics of a layer for circuits with so many bits on the weight's side; the last one is remembered."""
    weights = coded_weights(trace, operands, bits)
    return PooledStatistics(
        patch_histograms=trace.patch_histograms.reshape(-1, 256).astype(np.float64),
        weight_share=weights.share.mean(0),
        scale=weights.scale[: trace.channels],
    )
