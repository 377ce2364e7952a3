"""Batches of in-memory images: no worker processes, every batch reproducible on its own."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from picojoule.data.images import Images

Augment = Callable[[Tensor, torch.Generator], Tensor]
_EPOCH_STRIDE, _SEED_STRIDE = 1_000_003, 7_919_000_000_003


class Loader:
    """Iterates over batches (float32 [n, C, H, W], int64 [n]), like a `torch.utils.data.DataLoader`.

    The order of an epoch and the augmentation of each batch depend only on (seed, epoch, batch), so that a resumed run
    sees what an unbroken one would. Every iteration is the next epoch; `set_epoch` jumps.

    Attributes:
        images: what it draws from.
        batch_size: images per batch; the last batch may be smaller unless `drop_last`.
        epoch: the epoch that the next iteration will be.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: Augment | None = None,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        """Copies nothing.

        Args:
            images: in-memory images.
            batch_size: images per batch.
            shuffle: another order every epoch.
            augment: applied to the uint8 pixels [n, C, H, W] of every batch.
            seed: of order and augmentation.
            drop_last: leave out a last batch that is not full.

        Raises:
            ValueError: the batch size is not positive.
        """
        if batch_size < 1:
            raise ValueError(f"loader: expected a batch size of at least 1, got {batch_size}")
        self.images, self.batch_size, self.epoch = images, batch_size, 0
        self._shuffle, self._augment, self._seed, self._drop_last = shuffle, augment, seed, drop_last

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full if self._drop_last or rest == 0 else full + 1

    def set_epoch(self, epoch: int) -> None:
        """Makes the next iteration that epoch, as when resuming."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = torch.arange(len(self.images))
        if self._shuffle:
            order = torch.randperm(len(self.images), generator=self._generator(epoch, 0))
        for batch in range(len(self)):
            index = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            pixels = self.images.pixels[index]
            if self._augment is not None:
                pixels = self._augment(pixels, self._generator(epoch, batch + 1))
            yield self.images.normalisation(pixels), self.images.labels[index]

    def _generator(self, epoch: int, batch: int) -> torch.Generator:
        seed = self._seed * _SEED_STRIDE + epoch * _EPOCH_STRIDE + batch
        return torch.Generator().manual_seed(seed % 2**63)
