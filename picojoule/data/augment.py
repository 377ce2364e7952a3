"""Random flip and shifted crop of a whole batch at once."""

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
