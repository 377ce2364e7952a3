"""`Trainer`: the training loop. Stops anywhere, goes on bit for bit."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import nn

from approx.training.best import BestWeights
from approx.training.ema import WeightAverage
from approx.training.labels import images_and_labels
from approx.training.loss import Loss
from approx.training.recipe import Recipe
from approx.training.resuming import require_same_training
from approx.training.scores import Batch, Report

Score = Callable[[nn.Module], float]


class Trainer:
    """Trains a module.

    To take up an interrupted training, `load_state_dict` what `state_dict` gave, restore torch's random state where
    the module uses it (dropout), and let the loader begin with epoch `epoch`.

    Attributes:
        module: trained in place; in training mode during an epoch, in evaluation mode between epochs. Once `run` is
            exhausted it holds the result: the best weights where there is a score, their average where there is one.
        optimiser: as the recipe says.
        average: of the weights, where the recipe wants one.
        best: the best weights so far, where there is a score.
        epoch: epochs done.
        step: steps done in the running epoch.
        updates: steps done in all.
        losses: mean loss of every epoch done.
    """

    def __init__(
        self, module: nn.Module, recipe: Recipe, teacher: nn.Module | None = None, score: Score | None = None
    ) -> None:
        """Prepares; nothing is trained yet.

        Args:
            module: trained in place.
            recipe: how.
            teacher: distil from this network; it is copied.
            score: of the module in evaluation mode on validation data, higher is better: asked before the first step,
                after every epoch and every `recipe.validate_every` steps; chooses which weights are kept.

        Raises:
            ValueError: the recipe needs a teacher or a score and there is none.
        """
        if score is None and (recipe.patience or recipe.validate_every):
            raise ValueError("training recipe: patience and validate_every need a validation score")
        self.module, self.recipe, self.score = module, recipe, score
        self.loss = Loss(recipe, teacher)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = recipe.make_optimiser(self.parameters)
        self.average = None if recipe.ema is None else WeightAverage(module, recipe.ema)
        self.best = None if score is None else BestWeights(recipe.patience)
        self.epoch = self.step = self.updates = 0
        self.losses: list[float] = []
        self._total = 0.0  # of the running epoch's losses

    def run(self, batches: Iterable[Batch], report: Report | None = None) -> Iterator[float]:
        """Yields the mean loss after each epoch still to do.

        Args:
            batches: iterated once per epoch; images [N, C, H, W], labels int64 [N]. To resume in the middle of an epoch
                they must be the same whenever that epoch is iterated.
            report: called with (steps done, steps of all epochs or 0 when unknown, loss) after every step; the state
                may be saved then.

        Raises:
            ValueError: the loader yields nothing, a label is out of range, or loss, gradient or score is not finite.
        """
        if not self.updates:
            self._validate()
        while not self._finished:
            self._run_epoch(batches, report)
            yield self.losses[-1]
        self.module.load_state_dict(self.best.weights if self.best else self._evaluated.state_dict())
        self.module.eval()

    @property
    def _evaluated(self) -> nn.Module:
        return self.module if self.average is None else self.average.module

    @property
    def _exhausted(self) -> bool:
        return self.best is not None and self.best.exhausted

    @property
    def _finished(self) -> bool:
        return self.epoch >= self.recipe.epochs or (self._exhausted and not self.step)

    def _run_epoch(self, batches: Iterable[Batch], report: Report | None) -> None:
        """The running epoch, from its first step that is not done."""
        steps, every = len(batches) if isinstance(batches, Sized) else 0, self.recipe.validate_every
        self.module.train()
        for images, labels in map(images_and_labels, islice(batches, self.step, None)):
            if self._exhausted:
                break
            progress = (self.epoch + (self.step / steps if steps else 0.0)) / self.recipe.epochs
            loss = self._update(images, labels, progress)
            if every and self.updates % every == 0:
                self._validate()
                self.module.train()
            if report is not None:
                report(self.epoch * steps + self.step, self.recipe.epochs * steps, loss)
        self.module.eval()
        if not self.step:
            again = f" in epoch {self.epoch + 1}; give one that can be iterated again" if self.epoch else ""
            raise ValueError(f"training needs at least one batch; the loader yielded nothing{again}")
        self._validate()
        self.losses.append(self._total / self.step)
        self.epoch, self.step, self._total = self.epoch + 1, 0, 0.0

    def _update(self, images: torch.Tensor, labels: torch.Tensor, progress: float) -> float:
        """One step; weights stay as they were where it fails."""
        rate = self.recipe.rate(progress, self.updates)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.module, images, labels, self.updates)
        value = float(loss.detach())
        self._require_finite("loss", value, images)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip or math.inf)
        self._require_finite("gradient's norm", float(norm), images)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.step, self.updates, self._total = self.step + 1, self.updates + 1, self._total + value
        return value

    def _require_finite(self, what: str, value: float, images: torch.Tensor) -> None:
        if math.isfinite(value):
            return
        advice = f"lower the learning rate (now {self.recipe.learning_rate:g}) or clip the gradient"
        if not torch.isfinite(images).all():
            advice = "its images hold NaN or infinity"
        where = f"epoch {self.epoch + 1}, step {self.step + 1}"
        raise ValueError(f"the training {what} is {value} in {where}: {advice}")

    def _validate(self) -> None:
        """Asks for the score, once for the same weights."""
        if self.score is None or self.best is None or [u for u, _ in self.best.scores[-1:]] == [self.updates]:
            return
        with torch.no_grad():
            self.best.offer(self._evaluated, self.updates, self.score(self._evaluated.eval()))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on but torch's random state: nested tensors (not copied) and plain values."""
        return {
            "recipe": asdict(self.recipe),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average and self.average.state_dict(),
            "best": self.best and self.best.state_dict(),
            "done": [self.epoch, self.step, self.updates],
            "losses": [*self.losses],
            "total": self._total,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave.

        Raises:
            ValueError: it is of another recipe or network, or with and without a score; says what differs, and nothing
                has changed.
        """
        require_same_training(state, asdict(self.recipe), self.module.state_dict(), self.best is not None)
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.best is not None:
            self.best.load_state_dict(state["best"])
        self.epoch, self.step, self.updates = state["done"]
        self.losses, self._total = [*state["losses"]], state["total"]
