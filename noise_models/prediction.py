"""`ErrorPrediction`: how much error a circuit makes in a layer, before and after free correction.

Free correction is a per-channel affine map of the layer's output, y -> gain * y + bias. It costs nothing on the
device: the gain folds into requantisation and the bias into the integer bias (`approx.correction`). Gain and bias are
fitted by least squares, so the mean error vanishes and the part that is no multiple of the output remains. (The network
itself is corrected by matching moments; the two gains differ by about half the error's share of the variance.)
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
