"""Moments of a layer's output and of its error, and the prediction that follows.

The columns of a second activation share one gain and one bias, so they are pooled: over columns c and rows of them,

    Var = E_c[Var_c] + Var_c[mean_c]          Cov = E_c[Cov_c] + Cov_c[mean_c, mean'_c]
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from approx import LayerTrace
from noise_models.prediction import ErrorPrediction, FloatArray, residual_variance


@dataclass(frozen=True, eq=False)
class OutputMoments:
    """Each float64 [C], integer units.

    Attributes:
        mean, variance: of the error.
        output_mean, output_variance: of the exact output.
        covariance: of both.
    """

    mean: FloatArray
    variance: FloatArray
    output_mean: FloatArray
    output_variance: FloatArray
    covariance: FloatArray

    def prediction(self, trace: LayerTrace, scale: FloatArray) -> ErrorPrediction:
        """In real output units.

        Args:
            trace: of the layer.
            scale: real size of one integer unit, float64 [C].
        """
        if trace.channels < len(self.mean):
            return self._pooled().prediction(trace, scale[:1])
        residual = residual_variance(self.output_variance, self.variance, self.covariance)
        return ErrorPrediction(scale * self.mean, scale * np.sqrt(self.variance), scale * np.sqrt(residual))

    def _pooled(self) -> Self:
        """Of all columns as one channel."""
        error, output = self.mean - self.mean.mean(), self.output_mean - self.output_mean.mean()
        pooled = (
            self.mean,
            self.variance + error**2,
            self.output_mean,
            self.output_variance + output**2,
            self.covariance + error * output,
        )
        return type(self)(*(values.mean(keepdims=True) for values in pooled))
