"""`Second`: the second of two activations that are multiplied, which takes the weight's place, in a circuit's coding.

AFFINE takes its codes as they are, SIGN_MAGNITUDE_9 codes minus zero point (-255..255): both are exact. The 8-bit
codings SIGN_MAGNITUDE and SIGNED first bring codes minus zero point to -127..127 by fixed-point requantisation, which
costs up to one bit.
"""

from typing import NamedTuple, Self

import torch

from approx.grid import Grid
from approx.kernels import ops
from approx.operands import Operands
from approx.parts import in_parts
from approx.requantise import requantise


class Second(NamedTuple):
    """`real = scale * (values - zero)`.

    Attributes:
        values: int16 [...].
        zero: int64 scalar.
        scale: float64 scalar.
    """

    values: torch.Tensor
    zero: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of_reals(cls, values: torch.Tensor, grid: Grid) -> Self:
        """Reals that lie on a grid, as codes."""
        codes = torch.round(values.double() / grid.scale).to(torch.int16) + grid.zero
        return cls(codes, torch.tensor(grid.zero), torch.tensor(grid.scale, dtype=torch.float64))

    def coded(self, operands: Operands, bits: int, code_bits: int) -> Self:
        """These codes as a circuit's operand.

        Args:
            operands: the coding.
            bits: of the operand.
            code_bits: of the codes.

        Raises:
            ValueError: the operand is too narrow for a coding that rounds nothing.
        """
        if code_bits > bits and operands in (Operands.AFFINE, Operands.SIGN_MAGNITUDE_9):
            raise ValueError(f"operands {operands.value!r} take codes of at most {bits} bits, got {code_bits}")
        if operands is Operands.AFFINE:
            return self
        none = torch.zeros_like(self.zero)
        centred = self.values - self.zero.to(torch.int16)
        if operands is Operands.SIGN_MAGNITUDE_9:
            return self._replace(values=centred, zero=none)
        bounds = operands.span(bits)
        shrink = bounds[1] / torch.maximum(self.zero, (1 << code_bits) - 1 - self.zero).double()
        multiplier, shift = ops.fixed_point(shrink)
        values = in_parts(lambda part: requantise(part, multiplier, shift, 0, bounds).to(torch.int16), centred)
        return self._replace(values=values, zero=none, scale=self.scale / shrink)
