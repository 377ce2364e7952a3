"""`ErrorPrediction`: how much error a circuit makes in a layer, before and after free correction.

Free correction is a per-channel affine map of the layer's output, y -> gain * y + bias. It costs nothing on the
device: the gain folds into requantisation and the bias into the integer bias (`approx.correction`). Gain and bias are
fitted by least squares, so the mean error vanishes and the part that is no multiple of the output remains. (The network
itself is corrected by matching moments; the two gains differ by about half the error's share of the variance.)

Of the fit e(w, x) ~ a + b x + d x w + c(w) in papers/approximate_networks.md §8, a and c(w) are constants of a channel
and so in the bias, and d is the gain. The term b Σx is left out. Residual std with it / without it, median and 10th
percentile over all layers, the 49 published circuits and both orders:

                        ResNet-20       ResNet-56
    all candidates      0.990  0.678    0.988  0.669
    sign-magnitude      0.994  0.978    0.993  0.972
    sign-magnitude-9    0.994  0.981    0.994  0.977
    affine              0.913  0.569    0.895  0.561
    signed              0.612  0.248    0.592  0.266

The circuits it mends are not those a front over multiplication energy is made of: 0.994 0.977 on its lower hulls, on
either network. Where sign logic is charged, signed and affine circuits are on the front and it would save more: on
ResNet-20, with a whole coefficient per channel and the sum charged, 40.5 -> 33.8, 29.2 -> 27.3 and 23.7 -> 22.5 % of
the energy at a predicted degradation of 0.005, 0.01 and 0.02, and the measured loss within 0.004 either way; at 0.05
the prediction is too low (17.5 -> 15.8 %, and accuracy 92.7 -> 90.6 %).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from approx.correction import GAIN_LIMITS

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorPrediction:
    """Moments of the error of a layer's output before the bias, over inputs and positions, per output channel.

    Attributes:
        mean: float64 [C], real output units.
        std: float64 [C], real output units, without correction.
        residual_std: float64 [C], real output units, after free correction; the mean is then zero.
    """

    mean: FloatArray
    std: FloatArray
    residual_std: FloatArray

    def __post_init__(self) -> None:
        for name in ("mean", "std", "residual_std"):
            values = getattr(self, name)
            if values.shape != self.mean.shape or values.ndim != 1 or not np.isfinite(values).all():
                raise ValueError(f"{name} must hold one finite number per channel, got {values!r}")

    @property
    def layer_std(self) -> float:
        """Root mean square over channels of `std`: the layer's error without its mean, real output units."""
        return float(np.sqrt(np.mean(self.std**2)))

    @property
    def layer_residual_std(self) -> float:
        """Root mean square over channels of `residual_std`, real output units."""
        return float(np.sqrt(np.mean(self.residual_std**2)))

    @classmethod
    def none(cls, channels: int) -> "ErrorPrediction":
        """No error at all, of a layer with that many output channels."""
        zero = np.zeros(channels)
        return cls(zero, zero, zero)


def residual_variance(output: FloatArray, error: FloatArray, covariance: FloatArray) -> FloatArray:
    """Variance of the error that free correction leaves.

    With the approximate output y' = y + e and the gain g fitted by least squares, g y' - y = (g - 1) y + g e. The gain
    stays within `approx.correction.GAIN_LIMITS`, as on the device.

    Args:
        output: variance of the exact output y, >= 0.
        error: variance of the error e, >= 0.
        covariance: of output and error.
    """
    approximate = output + 2 * covariance + error
    tiny = 1e-12 * np.maximum(output + error, np.finfo(float).tiny)
    gain = (output + covariance) / np.where(approximate > tiny, approximate, np.inf)
    gain = np.clip(gain, *GAIN_LIMITS)
    left = (gain - 1) ** 2 * output + 2 * gain * (gain - 1) * covariance + gain**2 * error
    return np.maximum(left, 0.0)
