"""The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, nothing to download.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (test part), as shipped by scikit-learn.
"""

from pathlib import Path

import torch

from picojoule.config import DataConfig
from picojoule.data.images import Images, Normalisation
from picojoule.data.splits import DataSplits, hold_out

TEST_IMAGES = 360
TEST_SEED = 0
VALIDATION_IMAGES = 180
# Pixels are 0..16 (dark pixels counted in a 4x4 field); mean and std of all training pixels on that scale.
NORMALISATION = Normalisation(full_scale=16.0, mean=(0.305,), std=(0.376,))


def load_digits(config: DataConfig, root: Path) -> DataSplits:
    """Loads the digits: 1 channel, pixels 0..16; 360 test images fixed for good, 180 validation images by default.

    Args:
        config: size and seed of the validation part.
        root: not used.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    pixels = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    everything = Images(pixels, labels, NORMALISATION, tuple(str(digit) for digit in range(10)))
    rest, test = hold_out(labels, TEST_IMAGES, TEST_SEED)
    train, validation = hold_out(labels[rest], config.validation_images or VALIDATION_IMAGES, config.split_seed)
    return DataSplits(everything.take(rest[train]), everything.take(rest[validation]), everything.take(test))
