"""What every stage of a run works with: configuration, run folder, data; and resumable training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from approx import Recipe, Trainer
from multipliers import Library
from picojoule.config import RunConfig
from picojoule.data import DataSplits, Loader
from picojoule.progress import progress
from picojoule.run_folder import RunFolder
from picojoule.stages import StageContext
from picojoule.training_state import TrainingState


@dataclass(frozen=True)
class Lab:
    """One run's surroundings.

    Attributes:
        config: resolved.
        run: the open run folder.
        splits: fixed training, validation and test images.
        library: circuits to choose from.
    """

    config: RunConfig
    run: RunFolder
    splits: DataSplits
    library: Library

    @property
    def example(self) -> Tensor:
        """A blank image [1, C, H, W]."""
        return torch.zeros(1, *self.splits.train.shape)

    def batches(self, count: int) -> list[Tensor]:
        """A fixed choice of `count` training images in evaluation batches [n, C, H, W]."""
        images = self.splits.calibration(min(count, len(self.splits.train)), seed=self.config.data.split_seed)
        return [batch for batch, _ in Loader(images, self.config.data.evaluation_batch_size)]

    def training(self) -> Loader:
        """Shuffled, augmented training batches."""
        data = self.config.data
        return self.splits.train_loader(data.batch_size, seed=self.config.seed, augment=data.augment)

    def train(
        self, context: StageContext, module: nn.Module, recipe: Recipe, teacher: nn.Module | None = None
    ) -> Sequence[float]:
        """Trains a module in place, going on from the stage's checkpoint; returns the loss of every epoch."""
        loader, trainer = self.training(), Trainer(module, recipe, teacher)
        state = TrainingState(context.checkpoints, module, trainer.optimiser)
        trainer.epoch = state.load()
        earlier: Any = state.extra.get("losses", [])
        losses = [float(loss) for loss in earlier]
        loader.set_epoch(trainer.epoch)
        with progress(context.name, (recipe.epochs - trainer.epoch) * len(loader)) as step:
            for loss in trainer.run(loader, lambda done, total, value: step(f"loss {value:.3f}")):
                losses.append(loss)
                state.save(trainer.epoch, losses=losses)
                context.log("epoch", epoch=trainer.epoch, loss=loss)
        return losses
