"""One fixed split of a data set into training, validation and test."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from picojoule.data.images import Images
from picojoule.data.loader import Augment, Loader


@dataclass(frozen=True)
class DataSplits:
    """Disjoint parts of a data set; the same in every stage of a run and in every run with the same split seed.

    Attributes:
        train: what weights, observers, sensitivities and criteria may see.
        validation: what choices (circuits, epochs) may be made on.
        test: looked at to report.
        augment: of training batches, where the data set has one.
    """

    train: Images
    validation: Images
    test: Images
    augment: Augment | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every image and label and of which part it is in."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(f"{part.shape} {len(part)} {part.normalisation!r}".encode())
            digest.update(part.pixels.numpy().tobytes())
            digest.update(part.labels.numpy().tobytes())
        return digest.hexdigest()

    def train_loader(self, batch_size: int, *, seed: int = 0, augment: bool = True) -> Loader:
        """Shuffled training batches; an incomplete last batch is left out."""
        size = min(batch_size, len(self.train))
        chosen = self.augment if augment else None
        return Loader(self.train, size, shuffle=True, augment=chosen, seed=seed, drop_last=True)

    def calibration(self, count: int, *, seed: int = 0) -> Images:
        """A fixed random choice of training images, classes as even as the training set's.

        Raises:
            ValueError: there are not that many.
        """
        if count > len(self.train):
            raise ValueError(f"calibration: expected at most {len(self.train)} training images, asked for {count}")
        return self.train.take(_stratified(self.train.labels, count, seed))

    def calibration_batches(self, count: int, batch_size: int, *, seed: int = 0) -> list[Tensor]:
        """Those images as network inputs float32 [n, C, H, W]; all training images where there are fewer."""
        images = self.calibration(min(count, len(self.train)), seed=seed)
        return [batch for batch, _ in Loader(images, batch_size)]


def hold_out(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Splits indices in two, classes as even as they are in `labels`.

    Depends on the labels, the count and the seed alone: on no global random state, and never drawn again
    differently later in a run (a trap of published code: papers on AGN re-draw it, so that validation images were
    trained on).

    Args:
        labels: int64 [N].
        count: images to hold out.
        seed: decides which.

    Returns:
        int64 indices of the rest [N - count] and of the held out [count], each ascending.

    Raises:
        ValueError: nothing would be left.
    """
    if not 0 < count < len(labels):
        raise ValueError(f"hold out: expected between 1 and {len(labels) - 1} images, asked for {count}")
    held_out = _stratified(labels, count, seed).sort().values
    is_rest = torch.ones(len(labels), dtype=torch.bool)
    is_rest[held_out] = False
    return is_rest.nonzero().squeeze(1), held_out


def _stratified(labels: Tensor, count: int, seed: int) -> Tensor:
    """`count` random indices, each class as often as its share says, to within one; in random order."""
    random = np.random.RandomState(seed)  # its stream is frozen for all numpy versions
    order = random.permutation(len(labels))
    shuffled = labels.numpy()[order]
    position = np.empty(len(labels), dtype=np.float64)
    for label in np.unique(shuffled):
        members = np.flatnonzero(shuffled == label)
        position[members] = (np.arange(len(members)) + random.rand()) / len(members)
    chosen = np.argsort(position, kind="stable")[:count]
    return torch.from_numpy(order[np.sort(chosen)])
