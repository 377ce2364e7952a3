"""Random flip, shifted crop and cutout of a whole batch at once."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def flip_and_crop(pixels: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Mirrors every image with probability 1/2, pads it with black and cuts it out again at a random shift.

    The usual CIFAR-10 augmentation (He et al., arXiv:1512.03385, section 4.2).

    Args:
        pixels: uint8 [N, C, H, W].
        generator: decides; nothing else is random.
        padding: largest shift in pixels.

    Returns:
        uint8 [N, C, H, W].
    """
    count, _, height, width = pixels.shape
    flip = torch.rand(count, generator=generator) < 0.5
    shift = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    windows = F.pad(pixels, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # [N, C, shifts, shifts, H, W]
    crops = windows[torch.arange(count), :, shift[0], shift[1]]
    return torch.where(flip[:, None, None, None], crops.flip(3), crops)


def cut_out_after(augment: Callable[[Tensor, torch.Generator], Tensor] | None, side: int) -> Callable[..., Tensor]:
    """An augmentation that also blackens a square at a random place of every image.

    Cutout (DeVries and Taylor, arXiv 1708.04552): the centre is drawn over the whole image, so that the square may
    lie partly outside.

    Args:
        augment: applied first, where there is one.
        side: of the square in pixels.

    Returns:
        (uint8 [N, C, H, W], generator) -> uint8 [N, C, H, W].
    """

    def cut_out(pixels: Tensor, generator: torch.Generator) -> Tensor:
        pixels = pixels if augment is None else augment(pixels, generator)
        rows, columns = (
            torch.arange(size) - torch.randint(0, size, (len(pixels), 1), generator=generator) + side // 2
            for size in pixels.shape[2:]
        )  # [N, H], [N, W]: 0..side-1 inside the square
        inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return pixels.masked_fill(inside[:, None], 0)

    return cut_out
