"""What every stage of a run works with: configuration, run folder, data; and resumable training."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from approx import Recipe, Trainer
from multipliers import Library
from picojoule.config import RunConfig
from picojoule.data import DataSplits, Loader, cut_out_after
from picojoule.data.distortion import distort_after
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
CHECKPOINT_SECONDS = 60.0
Action = Callable[[StageContext], Mapping[str, Json] | None]


@dataclass(frozen=True)
class Part:
    """One of several trainings of a stage.

    Attributes:
        name: of its checkpoint folder.
        first_epoch: of the loader's order of images.
        after_epoch: called with the epochs done, before they are saved.
    """

    name: str = "."
    first_epoch: int = 0
    after_epoch: Callable[[int], None] | None = None


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

    def training(self, magnitude: int = 0, cutout: int = 0) -> Loader:
        """Shuffled, augmented training batches.

        Args:
            magnitude: of RandAugment, 0..30; 0: none.
            cutout: side of a black square in every image; 0: none.
        """
        data, augment = self.config.data, self.splits.augment if self.config.data.augment else None
        augment = distort_after(augment, magnitude, self.splits.train.normalisation.full_scale)
        splits = replace(self.splits, augment=cut_out_after(augment, cutout) if cutout else augment)
        return splits.train_loader(data.batch_size, seed=self.config.seed)

    def train(
        self, context: StageContext, module: nn.Module, recipe: Recipe, teacher: nn.Module | None = None
    ) -> Sequence[float]:
        """Trains a module in place, going on from the stage's checkpoint; returns the loss of every epoch."""
        return self.finish(context, Trainer(module, recipe, teacher), self.training()).losses

    def finish(self, context: StageContext, trainer: Trainer, loader: Loader, part: Part | None = None) -> Trainer:
        """Runs a training to its end, from the stage's checkpoint on.

        It is saved after every epoch, and within long epochs every `CHECKPOINT_SECONDS`. Not after the last one of a
        part that wants to be told of it: were it killed before the stage has noted that the part is done, it would
        go on with no epoch left to tell of.
        """
        part = part or Part()
        state = TrainingState(context.checkpoints / part.name, {"trainer": trainer})
        epochs = trainer.recipe.epochs
        state.load()
        loader.set_epoch(part.first_epoch + trainer.epoch)
        saved = time.monotonic()

        def save() -> None:
            nonlocal saved
            state.save(trainer.epoch)
            saved = time.monotonic()

        with progress(context.name, epochs * len(loader) - trainer.updates) as step:

            def report(done: int, total: int, loss: float) -> None:
                step(f"loss {loss:.3f}")
                if time.monotonic() - saved >= CHECKPOINT_SECONDS:
                    save()

            for loss in trainer.run(loader, report):
                if part.after_epoch is not None:
                    part.after_epoch(trainer.epoch)
                if part.after_epoch is None or trainer.epoch < epochs:
                    save()
                scores: dict[str, Json] = {"score": trainer.best.scores[-1][1]} if trainer.best else {}
                context.log("epoch", epoch=trainer.epoch, loss=loss, **scores)
        return trainer
