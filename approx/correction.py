"""Free error correction: per-channel gain and bias that bring an approximate layer back to the exact one's moments.

Relative matching (approximate against exact on the same images), because replacing statistics by fresh estimates
costs points on the exact network itself. Gain folds into requantisation and bias into the integer bias, so the
correction costs nothing on the device. Products of two activations, and the layers inside a recurrent one, keep their
error.
"""

import copy
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import fx

from approx.assignment import Assignment
from approx.layer import QuantLayer
from approx.network import QuantisedNetwork
from approx.operation import Arithmetic, Operation

GAIN_LIMITS = (0.5, 2.0)
CHUNK = 64

LayerMoments = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Layer name -> mean float64 [C], std float64 [C]."""


class _Visitor(fx.Interpreter):
    """Runs a network a few images at a time and visits every layer, with all its input, before the layer runs."""

    def __init__(self, network: QuantisedNetwork, visit: Callable[[QuantLayer, torch.Tensor], None]) -> None:
        super().__init__(network.graph_module)
        self.network, self.visit = network, visit

    def pass_over(self, images: torch.Tensor) -> None:
        """One pass in INTEGER arithmetic."""
        with torch.no_grad(), self.network.using(Arithmetic.INTEGER):
            self.run(images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images)

    def call_module(self, target: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        operation, inputs = cast(Operation, self.submodules[str(target)]), cast(tuple[torch.Tensor, ...], args)
        if isinstance(operation, QuantLayer):
            self.visit(operation, inputs[0])
        if not operation.row_by_row:
            return operation(*inputs)
        parts = zip(*(x.split(CHUNK) for x in inputs), strict=True)
        return torch.cat([operation(*part) for part in parts])


def _moments(layer: QuantLayer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std float64 [C] of the layer's response to x."""
    count, total, squares = 0, torch.zeros(len(layer.weight)).double(), torch.zeros(len(layer.weight)).double()
    for part in x.split(CHUNK):
        response = layer.channels_last(layer.response(part)).flatten(0, -2).T.double()  # [C, n * positions]
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
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def visit(layer: QuantLayer, x: torch.Tensor) -> None:
        found[layer.label] = _moments(layer, x)

    _Visitor(exact, visit).pass_over(images)
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
    corrected = [name for name, layer in network.layers().items() if (layer.gain != 1).any()]
    if corrected:
        raise ValueError(f"layers {corrected} are corrected already; start from the network before correction")
    wanted = wanted or layer_moments(network, images)

    def visit(layer: QuantLayer, x: torch.Tensor) -> None:
        if layer.table is None:
            return
        mean, std = _moments(layer, x)
        wanted_mean, wanted_std = wanted[layer.label]
        gain = torch.where(std > 0, wanted_std / std.clamp(min=1e-12), 1.0).clamp(*GAIN_LIMITS)
        layer.gain.copy_(gain)
        layer.bias.data += (wanted_mean - gain * mean).to(layer.bias.dtype)

    _Visitor(network, visit).pass_over(images)  # in execution order: later layers see corrected inputs
    return network
