"""`Recipe`: how to train: the optimiser, and the learning rate at every step."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from approx.training.channel_adam import ChannelAdam

Optimiser = Literal["sgd", "channel-adam"]
RETRAINING_RATES: Mapping[Optimiser, float] = {"sgd": 1e-3, "channel-adam": 3e-4}
"""Learning rates that suit networks with circuits (ResNet-20 on CIFAR-10, bit-exact forward)."""


@dataclass(frozen=True)
class Recipe:
    """How to train: a cosine learning rate, and what may be switched on beside it.

    Attributes:
        epochs: passes over the loader.
        learning_rate: start of the cosine that ends at zero.
        optimiser: "sgd", or "channel-adam" (`approx.training.channel_adam`), whose learning rate is in units of the
            largest weight of a channel: for networks with circuits, 3e-4.
        momentum, weight_decay: of either.
        clip: largest gradient norm, None for no clipping.
        temperature: of the distillation from a teacher (Hinton et al., arXiv 1503.02531).
        distillation: weight of the distillation term, 0..1; the rest is cross entropy with the labels. At 1 labels
            are not used at all.
        warmup_steps: first steps, over which the learning rate also rises linearly from nearly zero.
        ema: decay of the running average of the weights, which is then what is evaluated and kept; None: no average.
        mixup: distil on mixed images (see `approx.training.mixup`); needs distillation = 1.
        patience: validations without a new best after which training ends; None: never before its time.
        validate_every: steps between validations, beside those before the first step and after every epoch.
        seed: of mixup; the order of images is the loader's business.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float | None = 3.0
    temperature: float = 4.0
    distillation: float = 0.5
    warmup_steps: int = 0
    ema: float | None = None
    mixup: bool = False
    patience: int | None = None
    validate_every: int | None = None
    seed: int = 0
    optimiser: Optimiser = "sgd"

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: a value is out of range, or two do not go together; all of them are named.
        """
        bounds = {
            "positive": ("learning_rate", "clip", "temperature", "patience", "validate_every"),
            "not negative": ("epochs", "weight_decay", "warmup_steps", "seed"),
        }
        wrong = [
            f"{key}={value!r} (expected {wanted})"
            for wanted, keys in bounds.items()
            for key in keys
            if (value := getattr(self, key)) is not None
            and not (0 <= value < math.inf and (value > 0 or wanted == "not negative"))
        ]
        if self.optimiser not in get_args(Optimiser):
            wrong.append(f"optimiser={self.optimiser!r} (expected one of {list(get_args(Optimiser))})")
        if not 0 <= self.distillation <= 1:
            wrong.append(f"distillation={self.distillation!r} (expected 0..1)")
        for key in ("momentum", "ema"):
            if (value := getattr(self, key)) is not None and not 0 <= value < 1:
                wrong.append(f"{key}={value!r} (expected at least 0 and below 1)")
        if self.mixup and self.distillation != 1:
            wrong.append(f"mixup with distillation={self.distillation!r} (mixed images have no label; expected 1)")
        if wrong:
            raise ValueError(f"training recipe: {', '.join(wrong)}")

    def make_optimiser(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """One that has not moved anything."""
        if self.optimiser == "channel-adam":
            return ChannelAdam(parameters, self.learning_rate, (self.momentum, 0.999), self.weight_decay)
        return torch.optim.SGD(parameters, self.learning_rate, self.momentum, weight_decay=self.weight_decay)

    def rate(self, progress: float, updates: int) -> float:
        """Learning rate of a step.

        Args:
            progress: share of all epochs that is done, 0..1.
            updates: steps done before this one.
        """
        cosine = 0.5 * self.learning_rate * (1 + math.cos(math.pi * progress))
        return cosine * min(1.0, (updates + 1) / self.warmup_steps) if self.warmup_steps else cosine
