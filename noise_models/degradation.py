"""Predicted degradation of a (layer, circuit) pair. Adds up over layers; selection minimises the sum."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from noise_models.prediction import ErrorPrediction, FloatArray
from noise_models.sensitivity import Sensitivity
from noise_models.tolerance import Tolerance


class Degradation(ABC):
    """Turns a predicted error into a number that is 0 for none and adds up over layers. Abstract."""

    @abstractmethod
    def of(self, layer: str, prediction: ErrorPrediction) -> float:
        """Degradation by this error in this layer, >= 0.

        Raises:
            ValueError: nothing is known of the layer.
        """

    def by_channel(self, layer: str, prediction: ErrorPrediction) -> FloatArray:
        """The share of every output channel, float64 [C]; they sum to `of`.

        Raises:
            ValueError: nothing is known of the layer, or this degradation is no sum over channels.
        """
        raise ValueError(f"{type(self).__name__} is no sum over output channels; choose one circuit for each layer")


@dataclass(frozen=True, eq=False)
class FisherDegradation(Degradation):
    """Rise of the loss in nats, D = 1/2 Σ_c (F_c sigma_c^2 + G_c mu_c^2) (papers/approximate_networks.md §8).

    Attributes:
        sensitivity: F and G.
        corrected: free correction is applied; the std is then the residual one and the mean zero.
    """

    sensitivity: Sensitivity
    corrected: bool = True

    def of(self, layer: str, prediction: ErrorPrediction) -> float:
        return float(np.sum(self.by_channel(layer, prediction)))

    def by_channel(self, layer: str, prediction: ErrorPrediction) -> FloatArray:
        known = self.sensitivity[layer]
        if self.corrected:
            return 0.5 * known.incoherent * prediction.residual_std**2
        return 0.5 * (known.incoherent * prediction.std**2 + known.coherent * prediction.mean**2)


@dataclass(frozen=True, eq=False)
class ToleranceDegradation(Degradation):
    """Share of the layer's tolerance used up, (sigma / tolerance)^2; 1 where the layer bears just that.

    Attributes:
        tolerance: learnt or derived.
        corrected: free correction is applied. The mean is left out either way: AGN noise has none.
    """

    tolerance: Tolerance
    corrected: bool = True

    def of(self, layer: str, prediction: ErrorPrediction) -> float:
        return float(np.sum(self.by_channel(layer, prediction)))

    def by_channel(self, layer: str, prediction: ErrorPrediction) -> FloatArray:
        return self.tolerance[layer].usage_by_channel(prediction.residual_std if self.corrected else prediction.std)
