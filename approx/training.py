"""One small training loop for every training in the house: SGD with momentum, cosine schedule, distillation,
gradient clipping, resumable after every epoch."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]
Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the loader.
        learning_rate: start of the cosine that ends at zero.
        momentum, weight_decay: of SGD.
        clip: largest gradient norm, None for no clipping.
        temperature: of the distillation from a teacher (Hinton et al., arXiv 1503.02531).
        distillation: weight of the distillation term; the rest is cross entropy with the labels.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float | None = 3.0
    temperature: float = 4.0
    distillation: float = 0.5


class Trainer:
    """Trains a module.

    To take up an interrupted training, restore `module` and `optimiser` and set `epoch`.

    Attributes:
        module: trained in place; in training mode during an epoch, in evaluation mode between epochs.
        optimiser: SGD.
        epoch: epochs done.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, teacher: nn.Module | None = None) -> None:
        self.module, self.recipe = module, recipe
        self.teacher = None if teacher is None else copy.deepcopy(teacher).eval()
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(
            self.parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.epoch = 0

    def run(self, batches: Iterable[Batch], report: Report | None = None) -> Iterator[float]:
        """Yields the mean loss after each epoch still to do.

        Args:
            batches: iterated once per epoch; images [N, C, H, W], labels int64 [N].
            report: called with (steps done, steps of all epochs or 0 when unknown, loss) after every step.

        Raises:
            ValueError: the loader yields nothing, or the loss is not finite (the learning rate is too high).
        """
        while self.epoch < self.recipe.epochs:
            self.module.train()
            losses = list(self._epoch(batches, report))
            self.module.eval()
            if not losses:
                raise ValueError("training needs at least one batch; the loader yielded nothing")
            self.epoch += 1
            yield sum(losses) / len(losses)

    def _epoch(self, batches: Iterable[Batch], report: Report | None) -> Iterator[float]:
        steps = len(batches) if isinstance(batches, Sized) else 0
        for step, (images, labels) in enumerate(batches):
            progress = (self.epoch + (step / steps if steps else 0.0)) / self.recipe.epochs
            for group in self.optimiser.param_groups:
                group["lr"] = 0.5 * self.recipe.learning_rate * (1 + math.cos(math.pi * progress))
            loss = self._step(images, labels)
            if not math.isfinite(loss):
                raise ValueError(
                    f"the training loss is {loss} in epoch {self.epoch + 1}, step {step + 1}; lower the learning rate"
                )
            if report is not None:
                report(self.epoch * steps + step + 1, self.recipe.epochs * steps, loss)
            yield loss

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(self.module(images), images, labels)
        loss.backward()
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimiser.step()
        return float(loss.detach())

    def _loss(self, logits: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = F.cross_entropy(logits, labels)
        if self.teacher is None:
            return loss
        t, share = self.recipe.temperature, self.recipe.distillation
        with torch.no_grad():
            target = F.log_softmax(self.teacher(images) / t, 1)
        distance = F.kl_div(F.log_softmax(logits / t, 1), target, reduction="batchmean", log_target=True)
        return (1 - share) * loss + share * t * t * distance


def accuracy(
    module: Callable[[torch.Tensor], torch.Tensor], batches: Iterable[Batch], report: Report | None = None
) -> float:
    """Share of images whose largest output is the label, 0..1.

    Raises:
        ValueError: the loader yields nothing.
    """
    right = total = 0
    steps = len(batches) if isinstance(batches, Sized) else 0
    with torch.no_grad():
        for step, (images, labels) in enumerate(batches):
            right += int((module(images).argmax(1) == labels).sum())
            total += len(labels)
            if report is not None:
                report(step + 1, steps, right / total)
    if not total:
        raise ValueError("accuracy needs at least one batch; the loader yielded nothing")
    return right / total
