"""`QuantSoftmax`: softmax in integers.

e = round(2^24 exp(-scale (max - x)))     a table of the 256 distances to the largest code of the row
p = (e * floor(2^54 / Σ e)) / 2^24        in units of 2^-30, rounded
"""

import torch

from approx.kernels import ops
from approx.operation import Operation, zero_of
from approx.quantizer import Quantizer
from approx.requantise import requantise

_EXP_BITS, _BITS = 24, 30


class QuantSoftmax(Operation):
    """Softmax over the last axis.

    Attributes:
        mask: None, or bool, broadcast with the input: what is False counts as minus infinity.
    """

    mask: torch.Tensor | None

    def __init__(self, label: str, source: Quantizer, output: Quantizer, mask: torch.Tensor | None = None) -> None:
        super().__init__(label, (source,), output)
        self.register_buffer("mask", mask, persistent=False)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        x = inputs[0] if self.mask is None else inputs[0].masked_fill(~self.mask, -torch.inf)
        return torch.softmax(x, -1)

    def exponentials(self) -> torch.Tensor:
        """e of the distances 0..255, int64."""
        distance = torch.arange(256, dtype=torch.float64)
        return torch.round(2.0**_EXP_BITS * torch.exp(-self.sources[0].scale * distance)).to(torch.int64)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        source, exponentials = self.sources[0], self.exponentials()
        multiplier, shift = ops.fixed_point(2.0**-_BITS / self.output.scale)

        def codes(x: torch.Tensor) -> torch.Tensor:
            seen = source.codes(x).to(torch.int64)
            if self.mask is not None:
                seen = seen.masked_fill(~self.mask, -1)
            e = exponentials[(seen.amax(-1, keepdim=True) - seen).clamp_(max=255)]
            if self.mask is not None:
                e = e * self.mask
            reciprocal = (1 << (_EXP_BITS + _BITS)) // e.sum(-1, keepdim=True)
            shares = (e * reciprocal + (1 << (_EXP_BITS - 1))) >> _EXP_BITS
            return requantise(shares, multiplier, shift, zero_of(self.output), self.bounds)

        return self.straight_through(inputs, codes)
