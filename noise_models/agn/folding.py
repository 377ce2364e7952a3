"""Relative noise before batch normalisation, said of the network in which batch normalisation is folded.

A search adds noise of std sigma * std(y) to a layer's output y before batch normalisation. In the quantised network the
layer's weights are multiplied by a factor f_c in every output channel, and so is everything it gives: noise of that
size has the std |f_c| * sigma * std(y) there. Without batch normalisation f_c = 1, and this is sigma times the std of
the layer's output.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from approx import LayerTrace
from noise_models.agn.injection import layer_weights
from noise_models.prediction import ErrorPrediction, FloatArray
from noise_models.tolerance import LayerTolerance


@dataclass(frozen=True, eq=False)
class LayerFolding:
    """Of one layer.

    Attributes:
        unit: float64 [C], real output of the folded layer that stands for one std(y); its sign is that of the factor,
            0 in a channel that is folded to nothing.
        output_std: of the folded layer, all channels together.
    """

    unit: FloatArray
    output_std: float

    @classmethod
    def of(cls, weight: torch.Tensor, trace: LayerTrace) -> "LayerFolding":
        """Compares a layer with its trace.

        std(y) over all channels is that of the sampled receptive fields, times how much the trace's exact std
        differs from the sampled one of the folded layer.

        Args:
            weight: float [C, ...] before folding.
            trace: of the folded layer.
        """
        raw = weight.detach().cpu().flatten(1).double().numpy()
        folded = trace.weight.astype(np.float64)
        square = (raw**2).sum(1)
        factor = (raw * folded).sum(1) / np.where(square > 0, square, np.inf)
        sampled = _sampled_std(folded, trace)
        ratio = _sampled_std(raw, trace) / sampled if sampled > 0 else 0.0
        return cls(factor * ratio * trace.accumulator_std, trace.accumulator_std)

    def tolerance(self, sigma: float) -> LayerTolerance:
        """What a layer with this relative std bears; any error in a channel that is folded to nothing."""
        absolute = np.where(self.unit == 0, np.inf, sigma * np.abs(self.unit))
        return LayerTolerance.of_absolute(absolute, self.output_std)

    def relative_std(self, prediction: ErrorPrediction, corrected: bool = True) -> float:
        """The sigma whose noise has the mean square of a predicted error, in units of std(y)."""
        return float(np.sqrt(np.mean(self.relative(prediction.residual_std if corrected else prediction.std) ** 2)))

    def relative(self, values: FloatArray) -> FloatArray:
        """Per channel, values of the folded layer in units of std(y); 0 in a channel that is folded to nothing."""
        return np.divide(values, self.unit, out=np.zeros_like(values), where=self.unit != 0)


def foldings(model: nn.Module, traces: Mapping[str, LayerTrace]) -> dict[str, LayerFolding]:
    """How batch normalisation is folded in the traced network, by layer.

    Args:
        model: the floating-point network.
        traces: of all layers of the same network, quantised.

    Raises:
        ValueError: the traces are not the model's.
    """
    weights = layer_weights(model, traces)
    return {name: LayerFolding.of(weight, trace) for weight, (name, trace) in zip(weights, traces.items(), strict=True)}


def _sampled_std(weight: FloatArray, trace: LayerTrace) -> float:
    """Std over sampled receptive fields and channels of a layer with this weight [C, K]."""
    fields = (trace.patches.astype(np.float64) - trace.input_zero) * trace.input_scale  # [G, S, K]
    grouped = weight.reshape(trace.groups, -1, trace.fan_in)  # [G, C / G, K]
    return float(np.std(np.matmul(fields, grouped.transpose(0, 2, 1))))
