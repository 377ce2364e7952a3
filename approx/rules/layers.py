"""Layers with weights, and the batch normalisation folded into them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from approx.conv_geometry import ConvGeometry
from approx.convolution import QuantConv2d
from approx.layer import QuantLayer
from approx.linear import QuantLinear
from approx.lowering import Lowering, Unsupported, arguments, pair, shape
from approx.naming import layer_label
from approx.quantizer import Quantizer


def _layer_parameters(low: Lowering, a: Mapping[str, Any]) -> tuple[str, tuple[torch.Tensor, torch.Tensor]]:
    name, weight = low.tensor(a["weight"], "weight")
    bias = torch.zeros(len(weight)) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]
    return layer_label(name), (weight, bias)


def conv2d(low: Lowering, node: fx.Node) -> None:
    """Convolution, any stride, padding, dilation and groups."""
    a = arguments(node)
    label, parameters = _layer_parameters(low, a)
    stride, dilation = pair(a["stride"]), pair(a["dilation"])
    if isinstance(a["padding"], str):
        totals = (
            [0, 0]
            if a["padding"] == "valid"
            else [d * (k - 1) for d, k in zip(dilation, parameters[0].shape[2:], strict=True)]
        )
        before = [t // 2 for t in totals]
        padding = (before[0], before[1], totals[0] - before[0], totals[1] - before[1])
    else:
        height, width = pair(a["padding"])
        padding = (height, width, height, width)
    geometry = ConvGeometry(stride, padding, dilation, a["groups"])
    low.add(node, QuantConv2d(label, low.source(a["input"]), Quantizer(), parameters, geometry), [a["input"]])


def linear(low: Lowering, node: fx.Node) -> None:
    """Matrix product of [N, F]."""
    a = arguments(node)
    if len(shape(a["input"])) != 2:
        raise Unsupported(f"its input has shape {shape(a['input'])}, expected [N, F]")
    label, parameters = _layer_parameters(low, a)
    low.add(node, QuantLinear(label, low.source(a["input"]), Quantizer(), parameters), [a["input"]])


def batch_norm(low: Lowering, node: fx.Node) -> None:
    """Folded into the layer before it."""
    a = arguments(node)
    layer = low.operation(a["input"])
    if not isinstance(layer, QuantLayer) or not low.sole_reader(a["input"]) or layer.cap is not None:
        raise Unsupported(
            "it does not directly follow a convolution or linear layer of its own, so it cannot be folded"
        )
    mean, variance = (low.tensor(a[k], k)[1] for k in ("running_mean", "running_var"))
    gamma = torch.ones_like(mean) if a["weight"] is None else low.tensor(a["weight"], "weight")[1]
    beta = torch.zeros_like(mean) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]
    factor = gamma.double() / torch.sqrt(variance.double() + a["eps"])
    with torch.no_grad():
        shape_ = (-1, *[1] * (layer.weight.dim() - 1))
        layer.weight.copy_(layer.weight.double() * factor.view(shape_))
        layer.bias.copy_((layer.bias.double() - mean.double()) * factor + beta.double())
    low.alias(node, a["input"])


RULES = {
    "conv2d.default": conv2d,
    "conv2d.padding": conv2d,
    "linear.default": linear,
    "batch_norm.default": batch_norm,
}
