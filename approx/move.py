"""Operations whose values keep their codes: `Move`, and `QuantMove` for reshape, permute, select, ..."""

from collections.abc import Callable

import torch

from approx.operation import Operation
from approx.quantizer import Quantizer


class Move(Operation):
    """Values only change places or are bounded: the source's codes stay what they are. Abstract."""

    def __init__(self, label: str, source: Quantizer) -> None:
        super().__init__(label, (source,), source)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.activate(self.real(*inputs))


class QuantMove(Move):
    """Values change their places and nothing else.

    Attributes:
        move: the tensor with its values in their new places, for any number of images.
    """

    row_by_row = False

    def __init__(self, label: str, source: Quantizer, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(label, source)
        self.move = move

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        moved = self.move(inputs[0])
        if torch.compiler.is_compiling():
            return moved + 0  # the symbolic strides of a view of a view would keep a graph from taking any batch
        return moved.contiguous()  # `in_parts` expects the first axis outermost in memory
