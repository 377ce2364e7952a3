"""`ChoiceSettings`: hyper-parameters of the differentiable choice."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ChoiceSettings:
    """Hyper-parameters, ours.

    Attributes:
        epochs: passes over the loader, for each point.
        learning_rate: of Adam, on alpha.
        temperatures: T of the first and of the last epoch; it falls by the same factor from epoch to epoch.
        sigma_init: relative std that a layer's mixture starts with at most; rough circuits get little of it.
        corrected: free correction is applied: the residual std, and no mean.
        draws: add Gumbel noise to alpha in every step.
        seed: of noise and draws.
    """

    epochs: int = 4
    learning_rate: float = 0.3
    temperatures: tuple[float, float] = (1.0, 0.25)
    sigma_init: float = 0.1
    corrected: bool = True
    draws: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.epochs, self.learning_rate, self.sigma_init, *self.temperatures)
        if not all(0 < n < math.inf for n in numbers):
            raise ValueError(f"differentiable choice: epochs, rate, temperatures and sigma_init are > 0, got {self}")

    def temperature(self, epoch: int) -> float:
        """T of an epoch, counted from 0."""
        first, last = self.temperatures
        return first * (last / first) ** (epoch / max(1, self.epochs - 1))
