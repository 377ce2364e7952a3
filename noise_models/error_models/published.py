"""The published multi-distribution model of AGN (Trommer et al., ICCAD 2022; papers/approximate_networks.md §2).

Per patch k with activation histogram p_k, and one weight histogram q of the whole layer, over one product:

    mu_k = Σ_xw e p_k(x) q(w)          v_k = Σ_xw (e - mu_k)^2 p_k(x) q(w)

and over the n products of an output, by the law of total variance (Eq. 15/16 of the paper):

    mu = n mean_k(mu_k)                sigma^2 = n mean_k(v_k) + n^2 Var_k(mu_k)

The published method only uses sigma; it trusts retraining or batch normalisation to absorb the mean, and knows no other
correction. So the residual std here is sigma itself.
"""

from typing import ClassVar

import numpy as np

from approx import LayerTrace, Operands
from approx.operands import LayerTable
from noise_models.error_models.base import ErrorModel, check_table
from noise_models.error_models.pooled_statistics import pooled_statistics
from noise_models.prediction import ErrorPrediction


class Published(ErrorModel):
    """See the module. Final."""

    name: ClassVar[str] = "published"

    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        check_table(trace, operands, table)
        pooled, n = pooled_statistics(trace, operands, table.weight_bits), trace.fan_in
        error = table.error().astype(np.float64)
        by_code = pooled.weight_share @ error  # [256]
        means = pooled.patch_histograms @ by_code  # mu_k, [G * S]
        squares = pooled.patch_histograms @ (pooled.weight_share @ error**2)
        variance = n * np.mean(squares - means**2) + n**2 * np.var(means)
        std = pooled.scale * np.sqrt(np.maximum(variance, 0.0))
        return ErrorPrediction(pooled.scale * (n * means.mean()), std, std)
