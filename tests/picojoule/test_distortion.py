"""Distorted validation images: the same every time, within the range of their pixels, nothing else touched."""

import pytest
import torch

from picojoule.data import Images, Loader, Normalisation, flip_and_crop
from picojoule.data.distortion import distort_after, distorted


def some(channels: int, full_scale: int) -> Images:
    pixels = torch.randint(0, full_scale + 1, (30, channels, 8, 8), generator=torch.Generator().manual_seed(0))
    normalisation = Normalisation(float(full_scale), (0.0,) * channels, (1.0,) * channels)
    return Images(pixels.to(torch.uint8), torch.arange(30), normalisation, tuple(map(str, range(30))))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_for_a_seed_and_nothing_else_is_touched(channels: int) -> None:
    images, state = some(channels, 255), torch.get_rng_state()
    first, again, other = (distorted(images, 7, seed).pixels for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, images.pixels)
    assert torch.equal(distorted(images, 7, 3).labels, images.labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert distorted(images, 0) is images


@pytest.mark.parametrize("magnitude", [1, 7, 30])
def test_pixels_of_another_full_scale_stay_within_it(magnitude: int) -> None:
    """As digits, 0..16: to operations that take 255 for white they are almost black."""
    images = some(1, 16)
    pixels = distorted(images, magnitude).pixels
    same = (pixels == images.pixels).flatten(1).all(1)
    assert 0 < int(pixels.max()) <= 16 and not same.all()
    wide = Images(
        (images.pixels * (255 / 16)).round().to(torch.uint8),
        images.labels,
        Normalisation(255.0, (0.0,), (1.0,)),
        images.classes,
    )
    assert torch.equal(pixels, (distorted(wide, magnitude).pixels * (16 / 255)).round().to(torch.uint8))


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or 3 channels can be distorted, these have 2"):
        distorted(some(2, 255), 7)


def test_training_batches_are_distorted_anew_every_epoch_and_the_same_again() -> None:
    images = some(3, 255)
    augment = distort_after(None, 7, 255)
    loader = Loader(images, 4, shuffle=True, augment=augment, seed=5)
    first, second = ([x for x, _ in loader] for _ in range(2))
    loader.set_epoch(0)
    again = [x for x, _ in loader]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    plain = [x for x, _ in Loader(images, 4, shuffle=True, seed=5)]
    for other in (second, plain):
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    state = torch.get_rng_state()
    next(iter(loader))
    assert torch.equal(torch.get_rng_state(), state)


def test_it_comes_after_the_other_augmentation_and_zero_is_none() -> None:
    images, seen = some(3, 255), list[torch.Tensor]()
    black = distort_after(lambda pixels, _: (seen.append(pixels), pixels * 0)[1], 7, 255)
    assert black is not None
    assert not black(images.pixels, torch.Generator().manual_seed(0)).float().std(dim=(2, 3)).gt(60).any()
    assert torch.equal(seen[0], images.pixels)
    assert distort_after(flip_and_crop, 0, 255) is flip_and_crop and distort_after(None, 0, 255) is None
