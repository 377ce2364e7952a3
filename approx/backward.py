"""The gradient of a layer in INTEGER arithmetic: along lines, straight through, or differences of the product table.

All treat rounding as the identity and stop where a code had to be clamped (`approx.clamping`). Kept between forward
and backward are the activation codes, one byte each: the real input is `scale * (code - zero_point)`, and is made again
when needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from approx.clamping import masked
from approx.difference_gradient import Planes
from approx.layer_integers import LayerIntegers
from approx.line_gradient import line_weight
from approx.operands import Operands
from approx.operation import full_precision, zero_of

if TYPE_CHECKING:
    from approx.layer import QuantLayer
    from approx.linear_map import Gradients


class IntegerLayer(torch.autograd.Function):
    """Integer forward; gradients for input, (rounded) weight and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, layer: QuantLayer, numbers: LayerIntegers
    ) -> torch.Tensor:
        codes = layer.codes(x)
        values, inside = layer.reals(codes, numbers, x.dtype, masked=True)
        ctx.save_for_backward(codes, weight, inside)
        ctx.layer, ctx.numbers = layer, numbers
        return values

    @staticmethod
    @once_differentiable  # compiled steps and saved codes carry no second gradient
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        codes, weight, free = ctx.saved_tensors
        layer: QuantLayer = ctx.layer
        wanted = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        with full_precision(codes.device.type):
            grad = masked(grads[0], free)
            circuit = layer.layer_circuit
            if circuit.derivatives is None:
                if circuit.gradient == "line" and not circuit.exact:
                    weight = line_weight(layer, ctx.numbers, weight, codes)
                x = layer.channels_first(layer.sources[0].reals(codes, grad.dtype))
                gain = layer.gain.to(grad.dtype).view(-1, *[1] * (weight.dim() - 1))
                into_x, into_weight = layer.gradients(grad, x, weight * gain, wanted)
                into_weight = None if into_weight is None else into_weight * gain
            else:
                gained = grad * layer.per_channel(layer.gain.to(grad.dtype), grad)
                into_x, into_weight = difference_gradients(layer, ctx.numbers, gained, codes, wanted)
            return into_x, into_weight, layer.channels_last(grad).flatten(0, -2).sum(0), None, None


def difference_gradients(
    layer: QuantLayer, numbers: LayerIntegers, grad: torch.Tensor, codes: torch.Tensor, wanted: tuple[bool, bool]
) -> Gradients:
    """Gradients of the sum of table products, zero points included.

    A product stands for the real s_x s_w (T[w, x] - z_w x - z_x w + z_x z_w), so that

        d/dx = Σ grad s_w (dT/dx[w, x] - z_w)        d/dw = Σ grad s_x (dT/dw[w, x] - z_x)

    Args:
        layer: has a table and its derivatives.
        numbers: its integers.
        grad: of the response, gain included [N, O, ...].
        codes: uint8, channels last.
        wanted: which of the two.

    Returns:
        Gradients for the real input and the real weight, None where not wanted.
    """
    assert layer.layer_circuit.derivatives is not None
    along_code, along_weight = layer.layer_circuit.derivatives
    index, seen = layer.layer_circuit.index(numbers.values).long(), layer.channels_first(codes).int()
    into_x = _for_input(layer, numbers, along_code, grad, index, seen) if wanted[0] else None
    return into_x, _for_weight(layer, along_weight, grad, index, seen) if wanted[1] else None


def _for_input(
    layer: QuantLayer,
    numbers: LayerIntegers,
    planes: Planes,
    grad: torch.Tensor,
    index: torch.Tensor,
    seen: torch.Tensor,
) -> torch.Tensor:
    channel = (-1, *[1] * (index.dim() - 1))
    scale = numbers.weight_scale.to(grad.dtype).view(channel)
    like = torch.empty_like(seen, dtype=grad.dtype)  # only its shape is read

    def through(weight: torch.Tensor) -> torch.Tensor:
        into_x, _ = layer.gradients(grad, like, weight * scale, (True, False))
        assert into_x is not None
        return into_x

    total = torch.zeros_like(like)
    if layer.operands is Operands.AFFINE:
        total -= through(numbers.weight_zero.to(grad.dtype).view(channel).expand(index.shape))
    for of_weight, of_code in zip(planes.of_weight, planes.of_code, strict=True):
        total += through(of_weight[index]) * of_code[seen]
    return total


def _for_weight(
    layer: QuantLayer, planes: Planes, grad: torch.Tensor, index: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    source = layer.sources[0]
    zero = zero_of(source)
    everywhere = layer.position_sums(grad)
    total = -zero * everywhere.expand(index.shape)
    for of_weight, of_code in zip(planes.of_weight, planes.of_code, strict=True):
        # padding holds the zero point: what it adds is taken out, since `gradients` pads with zeros, and put back
        _, into_weight = layer.gradients(grad, (of_code - of_code[zero])[seen], of_weight[index], (False, True))
        assert into_weight is not None
        total = total + of_weight[index] * (into_weight + of_code[zero] * everywhere)
    return total * source.scale.to(grad.dtype)
