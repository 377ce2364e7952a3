"""`QuantConstant`: a parameter used as an activation (position embedding, class token, layer scale)."""

import torch
from torch import nn

from approx.operation import Operation
from approx.quantizer import Quantizer


class QuantConstant(Operation):
    """The same codes for every image.

    Attributes:
        value: float, trained like a weight if it was a parameter.
        axis: of size 1, stretched to the number of images.
    """

    row_by_row = False

    def __init__(self, label: str, output: Quantizer, value: nn.Parameter, axis: int) -> None:
        super().__init__(label, (), output)
        self.value, self.axis = value, axis

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self._stretched(self.value, inputs[0].shape[0])

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        rounded = self.output.reals(self.output.codes(self.value.detach()))
        return self._stretched(self.value + (rounded - self.value).detach(), inputs[0].shape[0])

    def _stretched(self, value: torch.Tensor, images: int) -> torch.Tensor:
        return value.expand([images if axis == self.axis else size for axis, size in enumerate(value.shape)])
