"""Single-distribution baseline (papers/approximate_networks.md §2): one activation and one weight histogram per layer.

    mu = n Σ_xw e p(x) q(w)            sigma^2 = n Σ_xw (e - Σ e p q)^2 p(x) q(w)

Every product of an output is drawn independently from p x q; that activations of one patch belong together is ignored.
Like the published model it knows no correction but the loss of the mean.
"""

from typing import ClassVar

import numpy as np

from approx import LayerTrace, Operands
from approx.operands import LayerTable
from noise_models.error_models.base import ErrorModel, check_table
from noise_models.error_models.pooled_statistics import pooled_statistics
from noise_models.prediction import ErrorPrediction


class SingleDistribution(ErrorModel):
    """See the module. Final."""

    name: ClassVar[str] = "single"

    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        check_table(trace, operands, table)
        pooled, n = pooled_statistics(trace, operands, table.weight_bits), trace.fan_in
        p, q = pooled.patch_histograms.mean(0), pooled.weight_share
        error = table.error().astype(np.float64)
        mean = q @ error @ p
        variance = q @ (error - mean) ** 2 @ p
        std = pooled.scale * np.sqrt(n * variance)
        return ErrorPrediction(pooled.scale * (n * mean), std, std)
