"""`QuantProduct`: two activations multiplied element by element (squeeze-and-excitation, gates of an LSTM)."""

import torch

from approx.kernels import ops
from approx.operation import Operation, zero_of
from approx.requantise import requantise


class QuantProduct(Operation):
    """x * y, one of them stretched where it has size 1; exact products of centred codes, requantised.

    The multiplication is not part of a layer and takes no circuit.
    """

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0] * inputs[1]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        multiplier, shift = ops.fixed_point(self.sources[0].scale * self.sources[1].scale / self.output.scale)

        def codes(*parts: torch.Tensor) -> torch.Tensor:
            left, right = (
                (source.codes(x) - zero_of(source)).to(torch.int32)
                for x, source in zip(parts, self.sources, strict=True)
            )
            return requantise(left * right, multiplier, shift, zero_of(self.output), self.bounds)

        return self.straight_through(inputs, codes)
