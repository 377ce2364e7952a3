"""What every stage of a run works with: configuration, run folder, data; and resumable training."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from approx import Recipe, Trainer
from multipliers import Library
from picojoule.config import RunConfig
from picojoule.data import DataSplits, Loader
from picojoule.files import Json
from picojoule.progress import progress
from picojoule.run_folder import RunFolder
from picojoule.stages import Stage, StageContext, StageResult, run_stage
from picojoule.training_state import TrainingState
from picojoule.user_code import source_digest

SHARED_CODE = (
    "approx",
    "pruning",
    "picojoule.data",
    "picojoule.models",
    "picojoule.history",
    "picojoule.pipeline.lab",
    "picojoule.pipeline.networks",
)
Action = Callable[[StageContext], Mapping[str, Json] | None]


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

    def stage(
        self,
        name: str,
        action: Action,
        configuration: Mapping[str, Json],
        inputs: Mapping[str, StageResult],
        code: tuple[str, ...],
    ) -> StageResult:
        """Runs a stage whose result also depends on the data, the seed, and the code all stages share.

        Args:
            name, action: see `Stage`.
            configuration: what else it depends on, beside [data] and the seed.
            inputs: stages it reads.
            code: packages it runs, beside those every stage needs to rebuild its network.
        """
        data = self.config.data.model_dump(mode="json", exclude={"root", "download"})
        digests = {label: stage.digest for label, stage in inputs.items()}
        factories = (self.config.model.name, self.config.data.name)
        own = {factory: source_digest(factory) for factory in factories if ":" in factory}
        result = run_stage(
            self.run,
            Stage(
                name,
                action,
                {"seed": self.config.seed, "data": data, **configuration},
                {**digests, **own, "images": self.splits.digest},
                (*SHARED_CODE, f"picojoule.pipeline.{name}", *code),
            ),
        )
        print(f"{name}: {'done before' if result.is_cached else f'{result.seconds:.0f} s'}", file=sys.stderr)
        return result

    @property
    def example(self) -> Tensor:
        """A blank image [1, C, H, W]."""
        return torch.zeros(1, *self.splits.train.shape)

    def batches(self, count: int) -> list[Tensor]:
        """A fixed choice of `count` training images in evaluation batches [n, C, H, W]."""
        data = self.config.data
        return self.splits.calibration_batches(count, data.evaluation_batch_size, seed=data.split_seed)

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
