"""`AgnSettings`: hyper-parameters of a search. The defaults are those published for ResNets on CIFAR-10."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AgnSettings:
    """Hyper-parameters (papers/approximate_networks.md §1).

    Attributes:
        strength: lambda, the price of not bearing noise.
        sigma_max: relative std beyond which more tolerance earns nothing (published reward only).
        sigma_init: relative std to start from.
        epochs: passes over the loader.
        learning_rate, momentum, weight_decay: of SGD; weight decay is for the user's parameters only.
        decay_every: epochs after which the learning rates are divided by ten; 0 for never.
        log_rate: learning rate of log sigma, which Adam trains (energy-aware reward only).
        seed: of the noise.
    """

    strength: float = 0.2
    sigma_max: float = 0.5
    sigma_init: float = 0.1
    epochs: int = 30
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_every: int = 10
    log_rate: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {k: getattr(self, k) for k in ("sigma_max", "sigma_init", "epochs", "learning_rate", "log_rate")}
        others = {k: getattr(self, k) for k in ("strength", "momentum", "weight_decay", "decay_every")}
        wrong = [f"{k}={v!r} (expected > 0)" for k, v in positive.items() if not 0 < v < math.inf]
        wrong += [f"{k}={v!r} (expected >= 0)" for k, v in others.items() if not 0 <= v < math.inf]
        if self.sigma_init > self.sigma_max:
            wrong.append(f"sigma_init={self.sigma_init!r} (expected <= sigma_max {self.sigma_max!r})")
        if wrong:
            raise ValueError(f"AGN settings: {', '.join(wrong)}")

    def decay(self, epoch: int) -> float:
        """Factor on the learning rates in an epoch, counted from 0."""
        return 0.1 ** (epoch // self.decay_every if self.decay_every else 0)
