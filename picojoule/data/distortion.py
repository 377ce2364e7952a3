"""RandAugment: images that a network has not seen, made of ones it was trained on.

Published weights have often seen all training images, those held out here included: accuracy on them is near 100 %
and a loss of accuracy hardly shows. Distorted, the images are new to the network again. In training too: on images it
knows by heart a teacher says little more than their labels.

Source: Cubuk et al., arXiv 1909.13719.
"""

from dataclasses import replace

import torch
from torch import Tensor

from picojoule.data.images import Images
from picojoule.data.loader import Augment
from picojoule.torchvision_ops import import_torchvision

OPERATIONS = 2


def distorted(images: Images, magnitude: int, seed: int = 0) -> Images:
    """The images after RandAugment, always the same for a seed.

    Args:
        images: uint8 pixels of one or three channels.
        magnitude: strength, 0..30; 0 leaves the images alone.
        seed: decides which operations.

    Raises:
        ValueError: the images have another number of channels.
    """
    if magnitude == 0:
        return images
    return replace(images, pixels=_distort(images.pixels, magnitude, images.normalisation.full_scale, seed))


def distort_after(augment: Augment | None, magnitude: int, full_scale: float) -> Augment | None:
    """An augmentation that also distorts every image.

    Args:
        augment: applied first, where there is one.
        magnitude: strength, 0..30; 0 distorts nothing.
        full_scale: value of a white pixel.

    Returns:
        (uint8 [N, C, H, W], generator) -> uint8 [N, C, H, W]; raises ValueError where C is neither 1 nor 3.
    """

    if magnitude == 0:
        return augment

    def distort(pixels: Tensor, generator: torch.Generator) -> Tensor:
        pixels = pixels if augment is None else augment(pixels, generator)
        seed = int(torch.randint(2**62, (), generator=generator))
        return _distort(pixels, magnitude, full_scale, seed)

    return distort


def _distort(pixels: Tensor, magnitude: int, full_scale: float, seed: int) -> Tensor:
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"only images of 1 or 3 channels can be distorted, these have {pixels.shape[1]}")
    import_torchvision()
    from torchvision.transforms import RandAugment  # type: ignore[import-untyped, unused-ignore]

    augment, stretch = RandAugment(OPERATIONS, magnitude), 255 / full_scale
    bright = (pixels * stretch).round_().clamp_(max=255).to(torch.uint8)  # RandAugment's white is 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed = torch.stack([augment(image) for image in bright])
    return (changed / stretch).round_().to(torch.uint8)
