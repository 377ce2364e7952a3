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

    Raises:
        ValueError: the images have another number of channels.
    """
    if magnitude == 0:
        return images
    if images.pixels.shape[1] not in (1, 3):
        raise ValueError(f"only images of 1 or 3 channels can be distorted, these have {images.pixels.shape[1]}")
    import_torchvision()
    from torchvision.transforms import RandAugment  # type: ignore[import-untyped, unused-ignore]

    augment, stretch = RandAugment(OPERATIONS, magnitude), 255 / images.normalisation.full_scale
    pixels = (images.pixels * stretch).round_().clamp_(max=255).to(torch.uint8)  # RandAugment's white is 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed = torch.stack([augment(image) for image in pixels])
    return replace(images, pixels=(changed / stretch).round_().to(torch.uint8))
