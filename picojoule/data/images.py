"""Labelled images in memory as 8-bit pixels; normalised to floats a batch at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Pixel to network input, per channel: (pixel / full_scale - mean) / std.

    Attributes:
        full_scale: pixel value that stands for 1.
        mean, std: one number a channel.
    """

    full_scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float32 [N, C, H, W]."""
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, dtype=torch.float32).reshape(shape)
        std = torch.tensor(self.std, dtype=torch.float32).reshape(shape)
        return (pixels.to(torch.float32) / self.full_scale - mean) / std


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images.

    Attributes:
        pixels: uint8 [N, C, H, W].
        labels: int64 [N].
        normalisation: pixel to network input.
        classes: names of the classes, in the order of the labels.
    """

    pixels: Tensor
    labels: Tensor
    normalisation: Normalisation
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks the parts against each other.

        Raises:
            ValueError: a dtype or shape is wrong.
        """
        if self.pixels.dtype != torch.uint8 or self.pixels.dim() != 4:
            raise ValueError(
                f"images: expected pixels uint8 [N, C, H, W], got {self.pixels.dtype} {list(self.pixels.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(
                f"images: expected labels int64 [{len(self.pixels)}], got {self.labels.dtype} {list(self.labels.shape)}"
            )
        channels = self.pixels.shape[1]
        if not channels == len(self.normalisation.mean) == len(self.normalisation.std):
            raise ValueError(f"images: expected a mean and a std for each of {channels} channels")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, Tensor]:
        """Network inputs float32 [n, C, H, W] and labels int64 [n]; for a single index [C, H, W] and []."""
        if isinstance(index, int):
            return self.normalisation(self.pixels[index : index + 1 or None])[0], self.labels[index]
        return self.normalisation(self.pixels[index]), self.labels[index]

    def take(self, index: slice | Tensor) -> "Images":
        """The chosen images, in that order."""
        return Images(self.pixels[index], self.labels[index], self.normalisation, self.classes)
