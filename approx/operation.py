"""What every step of a quantised network shares: its quantizers, its arithmetic, its bounds.

Three arithmetics run the same network:

    FLOAT    the original real arithmetic; quantizers observe (calibration)
    FAKE     real arithmetic on rounded values; gradients everywhere, noise can be injected (tolerance, sensitivity)
    INTEGER  the integers of the device, through product tables; gradients: `approx.backward` (retraining, accuracy)
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import cast

import torch
from torch import nn

from approx.parts import in_parts
from approx.quantizer import Quantizer


class Arithmetic(StrEnum):
    """See the module."""

    FLOAT = "float"
    FAKE = "fake"
    INTEGER = "integer"


def zero_of(quantizer: Quantizer) -> int:
    """The quantizer's zero point, as a number that a graph can hold too (PyTorch refuses to trace `int`)."""
    return cast(int, quantizer.zero_point.item())


def full_precision(device: str) -> AbstractContextManager[object]:
    """Autocast off: lower precision would change the integers."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


class Operation(nn.Module):
    """A step of a quantised network. Abstract.

    Tensors between operations are reals on their quantizer's grid, [N, C, H, W], [N, T, F] or the like. Quantizers
    belong to the network and are shared by producer and consumers, so they are not registered here.

    Attributes:
        label: name in the user's model, or of the graph's node.
        sources: quantizers of the inputs.
        output: quantizer of the result (the source's own where values only move).
        cap: None, or the upper bound of a fused ReLU (infinity for a plain one); the lower bound is then 0.
        row_by_row: whether each index of the first axis is computed by itself, from the same index of every input.
    """

    row_by_row = True

    def __init__(self, label: str, sources: Sequence[Quantizer], output: Quantizer) -> None:
        super().__init__()
        self.label = label
        self.__dict__["sources"] = tuple(sources)
        self.__dict__["output"] = output
        self.arithmetic = Arithmetic.FLOAT
        self.observing = False
        self.cap: float | None = None

    sources: tuple[Quantizer, ...]
    output: Quantizer

    def steps(self) -> Iterator["Operation"]:
        """The operation, and those it is made of."""
        return (module for module in self.modules() if isinstance(module, Operation))

    @property
    def moves_only(self) -> bool:
        """Whether the result shares the source's quantizer."""
        return self.output is self.sources[0] if self.sources else False

    @property
    def bounds(self) -> tuple[int, int]:
        """Codes between which the result is clamped."""
        low, high = self.output.bounds
        if self.cap is None:
            return low, high
        zero = zero_of(self.output)
        if self.cap != float("inf"):
            cap = torch.round(self.cap / self.output.scale).to(torch.int64) + zero
            high = cast(int, cap.clamp(max=high).item())
        return zero, high

    def activate(self, values: torch.Tensor) -> torch.Tensor:
        """The fused ReLU, on reals."""
        return values if self.cap is None else values.clamp(0.0, self.cap)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        if self.arithmetic is Arithmetic.INTEGER:
            with full_precision(inputs[0].device.type):
                return self.integer(*inputs)
        result = self.activate(self.real(*inputs))
        if self.arithmetic is Arithmetic.FAKE:
            return result if self.moves_only else self.output(result)
        if self.observing and not self.moves_only:
            self.output.observe(result)
        return result

    @abstractmethod
    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The operation on reals, before the fused ReLU."""

    @abstractmethod
    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The operation as the device computes it, on reals that lie on the grid, straight-through gradient."""

    def straight_through(self, inputs: Sequence[torch.Tensor], codes: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Reals of `codes(*inputs)`, with the gradient of the real operation where it is not clamped."""
        with torch.no_grad():
            values = in_parts(lambda *parts: self.output.reals(codes(*parts)), *inputs)
        return self.with_real_gradient(inputs, values)

    def with_real_gradient(self, inputs: Sequence[torch.Tensor], values: torch.Tensor) -> torch.Tensor:
        """These reals on the output's grid, with the gradient of the real operation where it is not clamped."""
        if not torch.is_grad_enabled():
            return values
        soft = self.real(*inputs).clamp(*self.output.limits(self.bounds))
        return soft + (values - soft).detach()
