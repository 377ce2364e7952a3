"""The operations of a quantised network that need no multiplier circuit: add, pools, pad, slice, concat, flatten."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from approx.clamping import inside, masked
from approx.conv_geometry import pad_amounts
from approx.kernels import ops, pointwise
from approx.operation import Operation, zero_of
from approx.parts import in_parts
from approx.quantizer import Quantizer
from approx.requantise import requantise
from approx.window import Window


class QuantInput(Operation):
    """Reals of the outside world -> codes."""

    def __init__(self, label: str, output: Quantizer) -> None:
        super().__init__(label, (), output)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.straight_through(inputs, self.output.codes)


class QuantAdd(Operation):
    """Sum of two tensors of one shape, each rescaled in 32 bits."""

    def fixed_point(self) -> tuple[tuple[int, ...], int]:
        """Multipliers of the two terms and their common shift."""
        multipliers, shift = self._factors()
        return tuple(multipliers.tolist()), int(shift)

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.fixed_point_sum(torch.stack([s.scale for s in self.sources]) / self.output.scale)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0] + inputs[1]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return self.reals(*inputs)
        result: torch.Tensor = IntegerSum.apply(*inputs, self)
        return result

    def reals(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The sum of two reals on their grids, as the device computes it."""
        multipliers, shift = self._factors()
        if pointwise.usable(*inputs):
            left, right = (x.contiguous(memory_format=_dense(x)) for x in inputs)
            scale, zero, _ = self.output.grid
            grids = self.sources[0].grid, self.sources[1].grid
            factors = tuple(multipliers.tolist()), int(shift)
            return pointwise.add((left, right), grids, factors, (scale, zero, self.bounds))

        def sums(*parts: torch.Tensor) -> torch.Tensor:
            total = torch.ones_like(shift) << (shift - 1)
            for x, source, multiplier in zip(parts, self.sources, multipliers, strict=True):
                total = total + (source.codes(x) - zero_of(source)).to(torch.int32) * multiplier
            return self.output.reals(((total >> shift) + zero_of(self.output)).clamp_(*self.bounds))

        return in_parts(sums, *inputs)


def _dense(x: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if x.dim() == 4 else torch.contiguous_format


class IntegerSum(torch.autograd.Function):
    """Integer forward of `QuantAdd`; the gradient of both terms is the sum's where it is not clamped."""

    @staticmethod
    def forward(ctx: Any, left: torch.Tensor, right: torch.Tensor, operation: QuantAdd) -> torch.Tensor:
        values = operation.reals(left, right)
        ctx.save_for_backward(inside(values, operation.output, operation.bounds))
        return values

    @staticmethod
    @once_differentiable  # compiled steps and saved codes carry no second gradient
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        into = masked(grads[0], *ctx.saved_tensors)
        return into, into, None


class QuantMaxPool(Operation):
    """Maximum over a window; codes only move."""

    def __init__(self, label: str, source: Quantizer, window: Window) -> None:
        super().__init__(label, (source,), source)
        self.window = window

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.window.maximum(inputs[0])

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.real(*inputs)


class QuantAvgPool(Operation):
    """Mean over a window; padding counts as real zero."""

    def __init__(self, label: str, source: Quantizer, output: Quantizer, window: Window) -> None:
        super().__init__(label, (source,), output)
        self.window = window

    def fixed_point(self) -> tuple[int, int]:
        """Multiplier and shift from the window's sum of codes to the output's codes."""
        multiplier, shift = self._factors()
        return int(multiplier), int(shift)

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.fixed_point(self.sources[0].scale / self.output.scale / math.prod(self.window.kernel))

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.window.mean(inputs[0])

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        source, factors = self.sources[0], self._factors()

        def codes(x: torch.Tensor) -> torch.Tensor:
            means = self.window.mean((source.codes(x) - zero_of(source)).double())
            sums = torch.round(means * math.prod(self.window.kernel))
            return requantise(sums, *factors, zero_of(self.output), self.bounds)

        return self.straight_through(inputs, codes)


class QuantConcat(Operation):
    """Tensors joined on the channel axis, each rescaled."""

    def fixed_point(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Multipliers and shifts, one per tensor."""
        multiplier, shift = self._factors()
        return tuple(multiplier.tolist()), tuple(shift.tolist())

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.fixed_point(torch.stack([s.scale for s in self.sources]) / self.output.scale)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat(inputs, 1)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        factors = self._factors()

        def codes(*parts: torch.Tensor) -> torch.Tensor:
            rescaled = []
            for x, source, multiplier, shift in zip(parts, self.sources, *factors, strict=True):
                centred = source.codes(x) - zero_of(source)
                rescaled.append(requantise(centred, multiplier, shift, zero_of(self.output), self.bounds))
            return torch.cat(rescaled, 1)

        return self.straight_through(inputs, codes)


class _Move(Operation):
    """Values only move or are bounded: the source's codes stay what they are."""

    def __init__(self, label: str, source: Quantizer) -> None:
        super().__init__(label, (source,), source)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.activate(self.real(*inputs))


class QuantClamp(_Move):
    """A ReLU that could not be fused into what comes before it."""

    def __init__(self, label: str, source: Quantizer, cap: float) -> None:
        super().__init__(label, source)
        self.cap = cap

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        low, high = ((b - zero_of(self.output)) * float(self.output.scale) for b in self.bounds)
        return inputs[0].clamp(low, high)


class QuantPad(_Move):
    """Pads with real zero; `amounts` is (before, after) for every spatial axis, then channels."""

    def __init__(self, label: str, source: Quantizer, amounts: Sequence[tuple[int, int]]) -> None:
        super().__init__(label, source)
        self.amounts = tuple(amounts)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        *spatial, channels = self.amounts
        return F.pad(inputs[0], pad_amounts(*zip(channels, *spatial, strict=True)))


class QuantSlice(_Move):
    """start:stop:step for every spatial axis, then channels."""

    def __init__(self, label: str, source: Quantizer, slices: Sequence[slice]) -> None:
        super().__init__(label, source)
        self.slices = tuple(slices)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        *spatial, channels = self.slices
        return inputs[0][(slice(None), channels, *spatial)]


class QuantFlatten(_Move):
    """[N, C, ...] -> [N, F]."""

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].flatten(1)
