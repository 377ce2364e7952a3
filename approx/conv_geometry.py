"""How a convolution of a quantised network moves over its input: one, two or three spatial axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution moves, axis by axis.

    Attributes:
        stride, dilation: one number an axis, (height, width) for two axes.
        padding: positions before every axis, then those behind: (top, left, bottom, right) for two axes.
        groups: independent parts of the channels.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def axes(self) -> int:
        """Spatial axes of the input."""
        return len(self.stride)

    @property
    def before(self) -> tuple[int, ...]:
        """Padding before every axis."""
        return self.padding[: self.axes]

    @property
    def after(self) -> tuple[int, ...]:
        """Padding behind every axis."""
        return self.padding[self.axes :]

    @property
    def symmetric_padding(self) -> tuple[int, ...]:
        """The padding a convolution can do itself; zeros where `pad` does it."""
        return self.before if self.before == self.after else (0,) * self.axes

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, C, ...], padded here when the two sides differ."""
        return x if self.before == self.after else F.pad(x, pad_amounts(self.before, self.after))

    def unpad(self, grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The gradient of `pad`."""
        if self.before == self.after:
            return grad
        inner = (slice(b, b + size) for b, size in zip(self.before, x.shape[2:], strict=True))
        return grad[(slice(None), slice(None), *inner)]

    def output_size(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Positions of the output on every axis."""
        return tuple(
            (n + b + a - d * (k - 1) - 1) // s + 1
            for n, b, a, d, k, s in zip(size, self.before, self.after, self.dilation, kernel, self.stride, strict=True)
        )


def pad_amounts(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Padding of the last axes as `torch.nn.functional.pad` takes it: the last axis first."""
    return [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
