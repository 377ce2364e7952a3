"""`QuantProductSum`: a b + c d of four activations (the state of an LSTM or GRU)."""

import torch

from approx.kernels import ops
from approx.operation import Operation, zero_of
from approx.requantise import requantise


class QuantProductSum(Operation):
    """Exact products of centred codes, each requantised, their sum clamped. States may have 16 bits."""

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        a, b, c, d = inputs
        return a * b + c * d

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        first, second, third, fourth = (source.scale for source in self.sources)
        multipliers, shifts = ops.fixed_point(torch.stack([first * second, third * fourth]) / self.output.scale)
        zero, (low, high) = zero_of(self.output), self.bounds
        span = high - low

        def codes(*parts: torch.Tensor) -> torch.Tensor:
            a, b, c, d = (
                (source.codes(x) - zero_of(source)).to(torch.int64)
                for x, source in zip(parts, self.sources, strict=True)
            )
            left, right = (
                requantise(product, multiplier, shift, 0, (-2 * span, 2 * span))
                for product, multiplier, shift in zip((a * b, c * d), multipliers, shifts, strict=True)
            )
            return (left + right + zero).clamp(low, high)

        return self.straight_through(inputs, codes)
