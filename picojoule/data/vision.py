"""CIFAR-10 and MNIST through torchvision, which checks the published MD5 sums (MNIST: when it downloads)."""

from pathlib import Path
from typing import Any

import torch

from picojoule.config import DataConfig
from picojoule.data.augment import flip_and_crop
from picojoule.data.images import Images, Normalisation
from picojoule.data.loader import Augment
from picojoule.data.splits import DataSplits, hold_out
from picojoule.errors import UserError
from picojoule.torchvision_ops import import_torchvision

VALIDATION_IMAGES = 5000
# As the published CIFAR-10 ResNet weights expect (github.com/akamaster/pytorch_resnet_cifar10).
CIFAR10 = Normalisation(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MNIST = Normalisation(255.0, (0.1307,), (0.3081,))


def load_cifar10(config: DataConfig, root: Path) -> DataSplits:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 training images, 5,000 of them for validation by default; 10,000 test.

    Raises:
        UserError: the files are missing or damaged and may not be downloaded.
    """
    parts = [_read("CIFAR10", "CIFAR-10", "170 MB", root, config.download, is_train=t) for t in (True, False)]
    images = [
        Images(
            torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(part.targets, dtype=torch.int64),
            CIFAR10,
            tuple(part.classes),
        )
        for part in parts
    ]
    return _split(images, config, flip_and_crop)


def load_mnist(config: DataConfig, root: Path) -> DataSplits:
    """MNIST (LeCun et al.): 60,000 training images, 5,000 of them for validation by default; 10,000 test.

    Raises:
        UserError: the files are missing or damaged and may not be downloaded.
    """
    parts = [_read("MNIST", "MNIST", "12 MB", root, config.download, is_train=t) for t in (True, False)]
    images = [
        Images(p.data.unsqueeze(1).contiguous(), p.targets.to(torch.int64), MNIST, tuple(str(d) for d in range(10)))
        for p in parts
    ]
    return _split(images, config, None)


def _split(images: list[Images], config: DataConfig, augment: Augment | None) -> DataSplits:
    train, test = images
    count = config.validation_images or VALIDATION_IMAGES
    rest, validation = hold_out(train.labels, count, config.split_seed)
    return DataSplits(train.take(rest), train.take(validation), test, augment if config.augment else None)


def _read(kind: str, title: str, size: str, root: Path, download: bool, *, is_train: bool) -> Any:
    import_torchvision()
    from torchvision import datasets

    try:
        return getattr(datasets, kind)(root, train=is_train, download=download)
    except RuntimeError as error:
        message = (
            f"{title}: missing or damaged in {root}; let `picojoule run CONFIG --set data.download=true` fetch it "
            f"({size}), or name the folder that holds it with --data-root or the environment variable PICOJOULE_DATA"
        )
        raise UserError(message) from error
