"""Harder validation images, for weights that were trained on the validation images.

Published weights have often seen all training images, those held out here included: accuracy on them is near 100 %
and a loss of accuracy hardly shows. Distorted, the images are new to the network again.
"""

from dataclasses import replace

import torch

from picojoule.data.images import Images
from picojoule.torchvision_ops import import_torchvision

OPERATIONS = 2


def distorted(images: Images, magnitude: int, seed: int = 0) -> Images:
    """The images after RandAugment (Cubuk et al., arXiv 1909.13719), always the same for a seed.

    Args:
        images: uint8 pixels of one or three channels.
        magnitude: strength, 0..30; 0 leaves the images alone.
        seed: decides which operations.
    """
    if magnitude == 0:
        return images
    import_torchvision()
    from torchvision.transforms import RandAugment  # type: ignore[import-untyped, unused-ignore]

    augment = RandAugment(OPERATIONS, magnitude)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return replace(images, pixels=torch.stack([augment(pixels) for pixels in images.pixels]))
