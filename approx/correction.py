"""Free error correction: per-channel gain and bias that bring an approximate layer back to the exact one's moments.

Relative matching (approximate against exact on the same images), because replacing statistics by fresh estimates
costs points on the exact network itself. Gain folds into requantisation and bias into the integer bias, so the
correction costs nothing on the device.
"""

import copy
from collections.abc import Mapping

import torch
from torch import fx

from approx.layers import EXACT, QuantLayer
from approx.network import QuantisedNetwork
from approx.operands import Operands
from approx.operation import Arithmetic

GAIN_LIMITS = (0.5, 2.0)

LayerMoments = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Layer name -> mean float64 [C], std float64 [C]."""


class _Moments(fx.Interpreter):
    """Runs a network and hands every layer with its input to a visitor before the layer runs."""

    def __init__(self, network: QuantisedNetwork) -> None:
        super().__init__(network.graph_module)
        self.network = network

    def visit(self, layer: QuantLayer, x: torch.Tensor) -> None:
        mean, std = _moments(layer.response(x))
        self.found[layer.label] = (mean, std)

    found: dict[str, tuple[torch.Tensor, torch.Tensor]]

    def measure(self, images: torch.Tensor) -> LayerMoments:
        self.found = {}
        with torch.no_grad(), self.network.using(Arithmetic.INTEGER):
            self.run(images)
        return self.found

    def call_module(self, target: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        operation = self.submodules[str(target)]
        if isinstance(operation, QuantLayer):
            x = args[0]
            assert isinstance(x, torch.Tensor)
            self.visit(operation, x)
        return operation(*args)


class _Correct(_Moments):
    """Sets gain and bias of each approximate layer, in execution order, so that later layers see corrected inputs."""

    def __init__(self, network: QuantisedNetwork, wanted: LayerMoments) -> None:
        super().__init__(network)
        self.wanted = wanted

    def visit(self, layer: QuantLayer, x: torch.Tensor) -> None:
        if layer.table is None:
            return
        mean, std = _moments(layer.response(x))
        wanted_mean, wanted_std = self.wanted[layer.label]
        gain = torch.where(std > 0, wanted_std / std.clamp(min=1e-12), 1.0).clamp(*GAIN_LIMITS)
        layer.gain.copy_(gain)
        layer.bias.data += (wanted_mean - gain * mean).to(layer.bias.dtype)


def _moments(response: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    spatial = [d for d in range(response.dim()) if d != 1]
    wide = response.double()
    return wide.mean(spatial), wide.std(spatial, unbiased=False)


def layer_moments(network: QuantisedNetwork, images: torch.Tensor) -> LayerMoments:
    """Mean and std per output channel of every layer's response with exact products: what `correct` restores.

    Args:
        network: calibrated; its circuits are ignored, it is not changed.
        images: one batch [N, C, H, W].
    """
    exact = copy.deepcopy(network)
    for layer in exact.layers().values():
        layer.use_circuit(EXACT, Operands.SIGN_MAGNITUDE, None)
    return _Moments(exact).measure(_channels_last(images))


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
    _Correct(network, wanted or layer_moments(network, images)).measure(_channels_last(images))
    return network


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images
