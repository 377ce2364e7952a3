"""`QuantAdd`: the sum of two activations (residual connections)."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from approx.clamping import Clamped, masked, within
from approx.kernels import ops, pointwise
from approx.operation import Operation, zero_of
from approx.parts import in_parts


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
            return self.reals(*inputs)[0]
        result: torch.Tensor = IntegerSum.apply(*inputs, self)
        return result

    def reals(self, *inputs: torch.Tensor, masked: bool = False) -> Clamped:
        """The sum of two reals on their grids, as the device computes it, and where it is not clamped if `masked`."""
        multipliers, shift = self._factors()
        if pointwise.usable(*inputs):
            left, right = (pointwise.dense(x) for x in inputs)
            inside = torch.empty_like(left, dtype=torch.bool) if masked else None
            scale, zero, _ = self.output.grid
            grids = self.sources[0].grid, self.sources[1].grid
            factors = tuple(multipliers.tolist()), int(shift)
            return pointwise.add((left, right), grids, factors, (scale, zero, self.bounds), inside), inside

        def codes(*parts: torch.Tensor) -> torch.Tensor:
            total = torch.ones_like(shift) << (shift - 1)
            for x, source, multiplier in zip(parts, self.sources, multipliers, strict=True):
                total = total + (source.codes(x) - zero_of(source)).to(torch.int32) * multiplier
            return (total >> shift) + zero_of(self.output)

        values = in_parts(lambda *parts: self.output.reals(codes(*parts).clamp_(*self.bounds)), *inputs)
        return values, in_parts(lambda *parts: within(codes(*parts), self.bounds), *inputs) if masked else None


class IntegerSum(torch.autograd.Function):
    """Integer forward of `QuantAdd`; the gradient of both terms is the sum's where it is not clamped."""

    @staticmethod
    def forward(ctx: Any, left: torch.Tensor, right: torch.Tensor, operation: QuantAdd) -> torch.Tensor:
        values, inside = operation.reals(left, right, masked=True)
        ctx.save_for_backward(inside)
        return values

    @staticmethod
    @once_differentiable  # compiled steps and saved codes carry no second gradient
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        into = masked(grads[0], *ctx.saved_tensors)
        return into, into, None
