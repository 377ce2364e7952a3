"""`QuantRegrid`: an activation on another grid, for instance a 16-bit state where 8 bits are read."""

import torch

from approx.kernels import ops
from approx.operation import Operation, zero_of
from approx.quantizer import Quantizer
from approx.requantise import requantise


class QuantRegrid(Operation):
    """Codes requantised, nothing else."""

    def __init__(self, label: str, source: Quantizer, output: Quantizer) -> None:
        super().__init__(label, (source,), output)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        source = self.sources[0]
        multiplier, shift = ops.fixed_point(source.scale / self.output.scale)

        def codes(x: torch.Tensor) -> torch.Tensor:
            return requantise(source.codes(x) - zero_of(source), multiplier, shift, zero_of(self.output), self.bounds)

        return self.straight_through(inputs, codes)
