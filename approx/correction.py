"""Free error correction: per-channel gain and bias that bring an approximate layer back to the exact one's moments.

Relative matching (approximate against exact on the same images), because replacing statistics by fresh estimates
costs points on the exact network itself. Gain folds into requantisation and bias into the integer bias, so the
correction costs nothing on the device. A product of two activations has one gain and one bias for all of it. The layers
inside a recurrent one keep their error.
"""

import copy
from collections.abc import Mapping

import torch

from approx.assignment import Assignment
from approx.multiplying import Multiplying
from approx.network import QuantisedNetwork
from approx.visiting import CHUNK, Visitor

GAIN_LIMITS = (0.5, 2.0)

Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean float64 [C], std float64 [C]."""
LayerMoments = Mapping[str, Moments]
"""Layer name -> moments."""


def response_moments(layer: Multiplying, *inputs: torch.Tensor) -> Moments:
    """Mean and std float64 [C] of the layer's response to its input, or to both its inputs."""
    count, total, squares = 0, torch.zeros_like(layer.gain), torch.zeros_like(layer.gain)
    for part in zip(*(x.split(CHUNK) for x in inputs), strict=True):
        response = layer.by_channel(layer.response(*part)).flatten(0, 1).T.double()  # [C, n * positions]
        count += response.shape[1]
        total += response.sum(1)
        squares += response.square().sum(1)
    mean = total / count
    return mean, (squares / count - mean**2).clamp(min=0).sqrt()


def layer_moments(network: QuantisedNetwork, images: torch.Tensor) -> LayerMoments:
    """Mean and std per output channel of every layer's response with exact products: what `correct` restores.

    Args:
        network: calibrated; its circuits are ignored, it is not changed.
        images: one batch [N, C, H, W].
    """
    exact = copy.deepcopy(network).assign(Assignment(), {})
    found: dict[str, Moments] = {}

    def visit(layer: Multiplying, *inputs: torch.Tensor) -> None:
        found[layer.label] = response_moments(layer, *inputs)

    Visitor(exact, visit).pass_over(images)
    return found


def correct(network: QuantisedNetwork, images: torch.Tensor, wanted: LayerMoments | None = None) -> QuantisedNetwork:
    """Match the moments of every approximate layer to the exact network's; returns the network.

    Call it once, directly after `assign` on a freshly quantised network.

    Args:
        network: calibrated, with circuits assigned.
        images: one batch [N, C, H, W] that no test uses; about a thousand are enough.
        wanted: `layer_moments` of the same network on the same images, where they are known already.

    Raises:
        ValueError: a layer is corrected already.
    """
    require_uncorrected(network)
    wanted = wanted or layer_moments(network, images)

    def visit(layer: Multiplying, *inputs: torch.Tensor) -> None:
        if layer.table is not None:
            match_moments(layer, wanted[layer.label], *inputs)

    Visitor(network, visit).pass_over(images)  # in execution order: later layers see corrected inputs
    return network


def match_moments(layer: Multiplying, wanted: Moments, *inputs: torch.Tensor) -> None:
    """Set gain and bias of a layer so that its response to its inputs has the wanted moments."""
    mean, std = response_moments(layer, *inputs)
    wanted_mean, wanted_std = wanted
    gain = torch.where(std > 0, wanted_std / std.clamp(min=1e-12), 1.0).clamp(*GAIN_LIMITS)
    layer.gain.copy_(gain)
    layer.bias.data += (wanted_mean - gain * mean).to(layer.bias.dtype)


def require_uncorrected(network: QuantisedNetwork) -> None:
    """Raises ValueError when a layer has been corrected already."""
    corrected = [name for name, layer in network.multiplying().items() if (layer.gain != 1).any()]
    if corrected:
        raise ValueError(f"layers {corrected} are corrected already; start from the network before correction")
