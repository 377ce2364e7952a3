"""`InjectedNetwork`: the user's network in fake-quantised 8-bit arithmetic, with room for noise in every layer.

The network is run as it is, batch normalisation live. Only the calls of convolutions and matrix products with a
weight are diverted: their input and weight are rounded to 8 bits, and what `perturb` adds comes before the bias (and so
before batch normalisation). As in the paper's code (papers/approximate_networks.md §1) both quantisers are symmetric,
-127..127; that of activations is PACT (Choi et al., arXiv 1805.06085), whose clipping value is trained, that of weights
covers the largest weight of the tensor. Clipping starts at the calibrated range instead of the paper's 2.2, so that a
search can begin at a trained network without quantisation-aware epochs.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from approx import LayerTrace
from approx.naming import layer_label

HIGHEST = 127
_DIVERTED = (torch.conv1d, torch.conv2d, torch.conv3d, F.linear)


class InjectedNetwork(nn.Module):
    """A copy of a network, whose layers have the names of `QuantisedNetwork.layers()`.

    Attributes:
        model: the copy.
        names: of the layers, in execution order.
        clip: parameter [L], largest magnitude of each layer's input.
        perturb: called with (number of the layer, real output before the bias), gives the output to go on with.
    """

    def __init__(self, model: nn.Module, traces: Mapping[str, LayerTrace]) -> None:
        """Copies the network.

        Args:
            model: the floating-point network; one that its owner quantised himself does not do.
            traces: of all layers of the same network, quantised.

        Raises:
            ValueError: as `layer_weights`.
        """
        super().__init__()
        layer_weights(model, traces)
        self.model = copy.deepcopy(model)
        self.names = tuple(traces)
        self.clip = nn.Parameter(torch.tensor([_largest_input(trace) for trace in traces.values()]))
        self.perturb: Callable[[int, torch.Tensor], torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [N, C, H, W] -> outputs [N, F].

        Raises:
            ValueError: a layer was not run, or not as a convolution or matrix product.
        """
        with _Diversion(self) as diversion:
            scores: torch.Tensor = self.model(x)
        missed = [name for index, name in enumerate(self.names) if index not in diversion.met]
        if missed:
            raise ValueError(
                f"AGN: layers {missed} did not run as convolutions (1-D to 3-D) or matrix products with their own "
                'weight, so that no noise could be added; use method "fisher" for this network'
            )
        return scores


class _Diversion(TorchFunctionMode):
    """While it is entered, layers of a network run in 8 bits and are perturbed."""

    def __init__(self, network: InjectedNetwork) -> None:
        super().__init__()
        self.network, self.met = network, set[int]()
        weights = _by_label(network.model)
        self.index = {id(weights[name]): index for index, name in enumerate(network.names)}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        index = self.index.get(id(args[1])) if function in _DIVERTED and len(args) > 1 else None
        if index is None:
            return function(*args, **kwargs)
        self.met.add(index)
        x, weight, *rest = args
        bias = rest.pop(0) if rest else kwargs.pop("bias", None)
        x = fake_quantise(x, self.network.clip[index].abs())
        response = function(x, fake_quantise(weight, weight.detach().abs().amax()), None, *rest, **kwargs)
        if self.network.perturb is not None:
            response = self.network.perturb(index, response)
        return response if bias is None else response + along_channels(bias, weight)


def layer_weights(model: nn.Module, traces: Mapping[str, LayerTrace]) -> list[nn.Parameter]:
    """Weights [C, ...] of the traced layers in the floating-point model, in the traces' order.

    Raises:
        ValueError: there are no traces, or they name a layer that is none of the model's own, or of another shape.
    """
    weights = _by_label(model)
    alien = [n for n in traces if n not in weights or weights[n].flatten(1).shape != traces[n].weight.shape]
    if alien or not traces:
        raise ValueError(
            f"AGN expects traces of the floating-point {type(model).__name__}'s own convolution and linear layers, "
            f"each applied once; {alien or 'no layer at all'} is not among them. Give the network that was quantised, "
            'as it was before; for other layers use method "fisher"'
        )
    return [weights[name] for name in traces]


def fake_quantise(values: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Rounds to 255 steps between -limit and limit.

    The gradient goes straight through inside the range, and to the limit from outside (PACT).

    Args:
        values: of any shape.
        limit: scalar >= 0.
    """
    scale = limit.detach().clamp(min=1e-12) / HIGHEST
    inside = values.clamp(-limit, limit)
    return inside + (torch.round(inside.detach() / scale) * scale - inside.detach())


def along_channels(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One value per output channel [C], shaped to be added to what a weight [C, ...] gives: [N, C, ...] or [..., C]."""
    return values.view(-1, *[1] * (weight.dim() - 2))


def _by_label(model: nn.Module) -> dict[str, nn.Parameter]:
    return {layer_label(name): p for name, p in model.named_parameters() if name.endswith("weight") and p.dim() > 1}


def _largest_input(trace: LayerTrace) -> float:
    return max(trace.input_zero, 255 - trace.input_zero) * trace.input_scale
