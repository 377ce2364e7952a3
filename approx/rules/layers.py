"""Layers with weights, and the batch normalisation folded into them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from approx.conv_geometry import ConvGeometry
from approx.convolution import QuantConv
from approx.layer import QuantLayer
from approx.linear import QuantLinear
from approx.lowering import Lowering, Unsupported, arguments, each_axis, shape
from approx.naming import layer_label
from approx.quantizer import Quantizer
from approx.rules.rearranging import images_first
from approx.transposed_convolution import QuantConvTranspose, swap_channels
from approx.transposed_geometry import TransposedGeometry


def _layer_parameters(low: Lowering, a: Mapping[str, Any]) -> tuple[str, tuple[torch.Tensor, torch.Tensor]]:
    name, weight = low.tensor(a["weight"], "weight")
    return layer_label(name), (weight, _bias(low, a, len(weight)))


def _bias(low: Lowering, a: Mapping[str, Any], channels: int) -> torch.Tensor:
    return torch.zeros(channels) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]


def convolution(low: Lowering, node: fx.Node) -> None:
    """Convolution of one to three spatial axes, any stride, padding, dilation and groups."""
    a = arguments(node)
    label, parameters = _layer_parameters(low, a)
    kernel = parameters[0].shape[2:]
    stride, dilation = (each_axis(a[key], len(kernel)) for key in ("stride", "dilation"))
    if isinstance(a["padding"], str):
        same = int(a["padding"] == "same")
        totals = [same * d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        padding = (*(t // 2 for t in totals), *(t - t // 2 for t in totals))
    else:
        padding = each_axis(a["padding"], len(kernel)) * 2
    geometry = ConvGeometry(stride, padding, dilation, a["groups"])
    low.add(node, QuantConv(label, low.source(a["input"]), Quantizer(), parameters, geometry), [a["input"]])


def transposed_convolution(low: Lowering, node: fx.Node) -> None:
    """Transposed convolution of one to three spatial axes."""
    a = arguments(node)
    name, weight = low.tensor(a["weight"], "weight")
    weight, axes = swap_channels(weight, a["groups"]), weight.dim() - 2
    stride, padding, extra, dilation = (
        each_axis(a[key], axes) for key in ("stride", "padding", "output_padding", "dilation")
    )
    geometry = TransposedGeometry(stride, padding, extra, dilation, a["groups"])
    label, parameters = layer_label(name), (weight, _bias(low, a, len(weight)))
    low.add(node, QuantConvTranspose(label, low.source(a["input"]), Quantizer(), parameters, geometry), [a["input"]])


def linear(low: Lowering, node: fx.Node) -> None:
    """Matrix product of [..., F]."""
    a = arguments(node)
    dense(low, node, a["input"], *_layer_parameters(low, a))


def dense(low: Lowering, node: fx.Node, x: fx.Node, label: str, parameters: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The exported `node` is x times a weight, plus a bias."""
    value, back = images_first(low, x)
    low.define(node, back(low.put(QuantLinear(label, low.quantizer(value), Quantizer(), parameters), value)))


def batch_norm(low: Lowering, node: fx.Node) -> None:
    """Folded into the layer before it."""
    a = arguments(node)
    layer = low.operation(a["input"])
    if not isinstance(layer, QuantLayer) or not low.sole_reader(a["input"]) or layer.cap is not None:
        raise Unsupported(
            "it does not directly follow a convolution or linear layer of its own, so it cannot be folded"
        )
    if layer.channel_axis % len(shape(node)) != 1:
        raise Unsupported(
            f"it normalises axis 1 of [N, {', '.join(map(str, shape(node)[1:]))}], not the layer's channel axis"
        )
    mean, variance = (low.tensor(a[k], k)[1] for k in ("running_mean", "running_var"))
    gamma = torch.ones_like(mean) if a["weight"] is None else low.tensor(a["weight"], "weight")[1]
    beta = torch.zeros_like(mean) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]
    factor = gamma.double() / torch.sqrt(variance.double() + a["eps"])
    with torch.no_grad():
        per_output = (-1, *[1] * (layer.weight.dim() - 1))
        layer.weight.copy_(layer.weight.double() * factor.view(per_output))
        layer.bias.copy_((layer.bias.double() - mean.double()) * factor + beta.double())
    low.alias(node, a["input"])


RULES = {
    **{f"conv{axes}d.{form}": convolution for axes in (1, 2, 3) for form in ("default", "padding")},
    "conv_transpose1d.default": transposed_convolution,
    "conv_transpose2d.input": transposed_convolution,
    "conv_transpose3d.input": transposed_convolution,
    "linear.default": linear,
    "batch_norm.default": batch_norm,
}
