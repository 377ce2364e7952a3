"""`QuantMove`: values change their places and nothing else (reshape, permute, select, ...)."""

from collections.abc import Callable

import torch

from approx.operation import Operation
from approx.quantizer import Quantizer


class QuantMove(Operation):
    """Codes stay what they are.

    Attributes:
        move: the tensor with its values in their new places, for any number of images.
    """

    row_by_row = False

    def __init__(self, label: str, source: Quantizer, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(label, (source,), source)
        self.move = move

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        moved = self.move(inputs[0])
        if torch.compiler.is_compiling():
            return moved + 0  # the symbolic strides of a view of a view would keep a graph from taking any batch
        return moved.contiguous()  # `in_parts` expects the first axis outermost in memory

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.real(*inputs)
