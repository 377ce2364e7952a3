"""How a convolution of a quantised network moves over its input."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution moves; padding is (top, left, bottom, right), the rest (height, width)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def _symmetric(self) -> bool:
        top, left, bottom, right = self.padding
        return (top, left) == (bottom, right)

    @property
    def symmetric_padding(self) -> tuple[int, int]:
        """The padding a convolution can do itself; (0, 0) where `pad` does it."""
        return self.padding[:2] if self._symmetric else (0, 0)

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, C, H, W], padded here when the two sides differ."""
        top, left, bottom, right = self.padding
        return x if self._symmetric else F.pad(x, (left, right, top, bottom))

    def unpad(self, grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The gradient of `pad`."""
        if self._symmetric:
            return grad
        top, left = self.padding[:2]
        return grad[:, :, top : top + x.shape[2], left : left + x.shape[3]]
