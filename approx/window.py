"""`Window`: what a pooling looks at, over one to three spatial axes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from approx.conv_geometry import pad_amounts

_MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True)
class Window:
    """Geometry of a pooling window.

    Attributes:
        kernel, stride: one number an axis, (height, width) for two axes.
        padding: positions before every axis, then those behind: (top, left, bottom, right) for two axes.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def maximum(self, x: torch.Tensor) -> torch.Tensor:
        """Largest value in each window of x [N, C, ...]; padding counts for nothing."""
        return _MAXIMA[len(self.kernel)](self.pad(x, -torch.inf), self.kernel, self.stride)

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of each window of x [N, C, ...]; padding counts as zero."""
        return _MEANS[len(self.kernel)](self.pad(x, 0.0), self.kernel, self.stride)

    def pad(self, x: torch.Tensor, value: float) -> torch.Tensor:
        """x [N, C, ...] with the window's padding."""
        axes = len(self.kernel)
        amounts = pad_amounts(self.padding[:axes], self.padding[axes:])
        return F.pad(x, amounts, value=value) if any(amounts) else x
