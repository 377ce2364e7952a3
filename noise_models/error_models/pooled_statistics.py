"""Operand histograms of a layer as the published models see them: weights pooled over all output channels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from approx import LayerTrace, Operands
from noise_models.prediction import FloatArray


@dataclass(frozen=True, eq=False)
class PooledStatistics:
    """Operands of a layer in one weight coding.

    Attributes:
        patch_histograms: P, float64 [G * S, 256]; patches of all groups.
        weight_share: q, float64 [n_w].
        scale: float64 [C], real size of one integer unit of the output.
    """

    patch_histograms: FloatArray
    weight_share: FloatArray
    scale: FloatArray


@lru_cache(maxsize=1)
def pooled_statistics(trace: LayerTrace, operands: Operands) -> PooledStatistics:
    """Statistics of a layer; the last one is remembered, so go through circuits inside layer and coding."""
    return PooledStatistics(
        patch_histograms=trace.patch_histograms.reshape(-1, 256).astype(np.float64),
        weight_share=trace.weight_histograms(operands).astype(np.float64).mean(0),
        scale=trace.input_scale * trace.weight_values(operands)[1],
    )
