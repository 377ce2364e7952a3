"""Convolution and linear layers whose products come from a circuit's table.

The integer forward is what the device computes, entry for entry of the table; the gradient passes straight through
to the real operation on the rounded weights.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from approx.kernels import table_conv2d, table_matmul
from approx.operands import LayerTable, Operands
from approx.operation import Arithmetic, Operation
from approx.quantizer import Quantizer, quantise_weight
from approx.requantise import fixed_point, requantise

EXACT = "exact"
LARGEST_BIAS = 2.0**27
FLOAT32_EXACT = 2.0**24


@dataclass(frozen=True)
class LayerIntegers:
    """The integers of a layer as the device holds them.

    Attributes:
        values: int16, shaped as the weight.
        weight_zero: int64 [O].
        scale: float64 [O], real size of one accumulator step, gain included.
        bias: int64 [O], quantised bias without the zero-point terms.
        constant: int64 [O], the zero-point terms -z_x sum(w) + K z_x z_w.
        multiplier, shift: int64 [O].
    """

    values: torch.Tensor
    weight_zero: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    constant: torch.Tensor
    multiplier: torch.Tensor
    shift: torch.Tensor


class QuantLayer(Operation):
    """A layer with weights. Abstract; `QuantConv2d` and `QuantLinear` are final.

    Attributes:
        weight: float [O, ...], batch normalisation folded.
        bias: float [O].
        gain: float64 [O], free correction of the circuit's mean slope; folded into requantisation.
        operands, table, circuit: how products are made; `table is None` is the exact product.
        perturb: called on the real output [N, O, ...] before the bias, in FAKE arithmetic only.
    """

    gain: torch.Tensor

    def __init__(
        self, label: str, source: Quantizer, output: Quantizer, parameters: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        super().__init__(label, (source,), output)
        weight, bias = parameters
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())
        self.register_buffer("gain", torch.ones(len(weight), dtype=torch.float64))
        self.use_circuit(EXACT, Operands.SIGN_MAGNITUDE, None)
        self.perturb: Callable[[torch.Tensor], torch.Tensor] | None = None

    def use_circuit(self, circuit: str, operands: Operands, table: LayerTable | None) -> None:
        """Make products with this table (None: exactly), the weights coded as `operands`."""
        self.circuit, self.operands = circuit, operands
        self.__dict__["table"] = None if table is None or table.exact else table

    table: LayerTable | None

    @property
    def fan_in(self) -> int:
        """Products summed into one output."""
        return int(self.weight[0].numel())

    def integers(self) -> LayerIntegers:
        """Everything between input codes and output codes, as integers.

        Raises:
            ValueError: the network is not calibrated.
        """
        source, output = self.sources[0], self.output
        if not (source.calibrated and output.calibrated):
            raise ValueError(f"layer {self.label!r} is not calibrated; call calibrate(network, loader) first")
        values, scale, zero = self._quantised_weight()
        step = self.gain * source.scale * scale
        multiplier, shift = fixed_point((step / output.scale).numpy())
        zero_point, total = int(source.zero_point), values.flatten(1).sum(1, dtype=torch.int64)
        return LayerIntegers(
            values=values,
            weight_zero=zero,
            scale=step,
            bias=torch.round(self.bias.detach().double() / step).to(torch.int64),
            constant=-zero_point * total + self.fan_in * zero_point * zero,
            multiplier=torch.from_numpy(multiplier).to(torch.int64),
            shift=torch.from_numpy(shift).to(torch.int64),
        )

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        if self.arithmetic is Arithmetic.FLOAT:
            response = self.product(inputs[0], self.weight)
        else:
            gain = self.gain.to(self.weight.dtype).view(-1, *[1] * (self.weight.dim() - 1))
            response = self.product(inputs[0], self._rounded_weight() * gain)
        if self.perturb is not None and self.arithmetic is Arithmetic.FAKE:
            response = self.perturb(response)
        return response + self._per_channel(self.bias, response)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _StraightThrough.apply(inputs[0], self._rounded_weight(), self.bias, self)
        return result

    def response(self, x: torch.Tensor) -> torch.Tensor:
        """Real output [N, O, ...] before the bias in INTEGER arithmetic, for correction and error studies."""
        numbers = self.integers()
        accumulator = self.accumulate(x, numbers) - numbers.bias
        return self.channels_first((accumulator.double() * numbers.scale).to(x.dtype))

    def accumulate(self, x: torch.Tensor, numbers: LayerIntegers) -> torch.Tensor:
        """Accumulators, integers [N, ..., O], of real input x on the source's grid."""
        source = self.sources[0]
        codes = source.codes(x.detach())
        if self.table is None:
            exact = self._exact_product(codes - int(source.zero_point), numbers)
            return self.channels_last(exact).to(torch.int64) + numbers.bias
        codes = self.channels_last(codes.to(torch.uint8)).contiguous()
        index = numbers.values + self.table.offset
        sums = self.table_product(codes, index, self.table.tensor()).to(torch.int64)
        if self.operands is Operands.AFFINE:
            ones = torch.ones_like(self.weight)
            centred = self.channels_first(codes).to(self.weight.dtype) - int(source.zero_point)
            box = self.channels_last(torch.round(self.product(centred, ones))).to(torch.int64)
            sums -= numbers.weight_zero * (box + self.fan_in * int(source.zero_point))
        return sums + (numbers.bias + numbers.constant)

    def _exact_product(self, centred: torch.Tensor, numbers: LayerIntegers) -> torch.Tensor:
        """Sums of exact products, in the cheapest float type that holds them all exactly."""
        weights = numbers.values - numbers.weight_zero.view(-1, *[1] * (self.weight.dim() - 1))
        largest = 255.0 * float(weights.flatten(1).abs().sum(1).max())
        dtype = torch.float32 if largest < FLOAT32_EXACT else torch.float64
        return self.product(centred.to(dtype), weights.to(dtype))

    def _quantised_weight(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        floor = self.bias.detach().double().abs() / (self.gain * self.sources[0].scale) / LARGEST_BIAS
        return quantise_weight(self.weight, self.operands, floor.clamp(min=1e-12))

    def _rounded_weight(self) -> torch.Tensor:
        values, scale, zero = self._quantised_weight()
        shape = (-1, *[1] * (self.weight.dim() - 1))
        rounded = ((values - zero.view(shape)) * scale.view(shape)).to(self.weight.dtype)
        return self.weight + (rounded - self.weight).detach()

    def _per_channel(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return values.view(1, -1, *[1] * (like.dim() - 2))

    def channels_last(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, H, W, C]; [N, F] stays."""
        return x.permute(0, 2, 3, 1) if x.dim() == 4 else x

    def channels_first(self, x: torch.Tensor) -> torch.Tensor:
        """[N, H, W, C] -> [N, C, H, W]; [N, F] stays."""
        return x.permute(0, 3, 1, 2) if x.dim() == 4 else x

    @abstractmethod
    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Exact products summed: the convolution or matrix product, without bias."""

    @abstractmethod
    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Table products summed: codes uint8 [N, ..., C], index like the weight -> int32 [N, ..., O]."""

    @abstractmethod
    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Gradients of `product` for x and weight."""


class QuantConv2d(QuantLayer):
    """Convolution. `padding` is (top, left, bottom, right)."""

    def __init__(
        self,
        label: str,
        source: Quantizer,
        output: Quantizer,
        parameters: tuple[torch.Tensor, torch.Tensor],
        geometry: "ConvGeometry",
    ) -> None:
        super().__init__(label, source, output, parameters)
        self.geometry = geometry

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        g = self.geometry
        return F.conv2d(g.pad(x), weight, None, g.stride, g.symmetric_padding, g.dilation, g.groups)

    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        g = self.geometry
        return table_conv2d(
            codes,
            index.permute(0, 2, 3, 1).contiguous(),
            table,
            stride=g.stride,
            padding=g.padding,
            dilation=g.dilation,
            groups=g.groups,
            pad_code=int(self.sources[0].zero_point),
        )

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        g = self.geometry
        padded = g.pad(x)
        into_x, into_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            padded,
            weight,
            None,
            g.stride,
            g.symmetric_padding,
            g.dilation,
            False,
            [0, 0],
            g.groups,
            [True, True, False],
        )
        return g.unpad(into_x, x), into_weight


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution moves; padding is (top, left, bottom, right), the rest (height, width)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def _symmetric(self) -> bool:
        top, left, bottom, right = self.padding
        return (top, left) == (bottom, right)

    @property
    def symmetric_padding(self) -> tuple[int, int]:
        """The padding a convolution can do itself; (0, 0) where `pad` does it."""
        return self.padding[:2] if self._symmetric else (0, 0)

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, C, H, W], padded here when the two sides differ."""
        top, left, bottom, right = self.padding
        return x if self._symmetric else F.pad(x, (left, right, top, bottom))

    def unpad(self, grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The gradient of `pad`."""
        if self._symmetric:
            return grad
        top, left = self.padding[:2]
        return grad[:, :, top : top + x.shape[2], left : left + x.shape[3]]


class QuantLinear(QuantLayer):
    """Matrix product."""

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weight)

    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return table_matmul(codes, index, table)

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        return grad @ weight, grad.T @ x


class _StraightThrough(torch.autograd.Function):
    """Integer forward, gradient of the real layer where the output is not clamped."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, layer: QuantLayer) -> torch.Tensor:
        numbers = layer.integers()
        low, high = layer.bounds
        accumulator = layer.accumulate(x, numbers)
        codes = requantise(accumulator, numbers.multiplier, numbers.shift, int(layer.output.zero_point), (low, high))
        codes = layer.channels_first(codes)
        ctx.save_for_backward(x, weight, (codes > low) & (codes < high))
        ctx.layer = layer
        return layer.output.reals(codes, x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor, None]:
        x, weight, free = ctx.saved_tensors
        layer: QuantLayer = ctx.layer
        grad = grads[0] * free
        gained = grad * layer._per_channel(layer.gain.to(grad.dtype), grad)
        into_x, into_weight = layer.gradients(gained, x, weight)
        return into_x, into_weight, grad.sum([d for d in range(grad.dim()) if d != 1]), None
