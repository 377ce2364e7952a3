"""`BestWeights`: the weights with the highest validation score so far, and when to give up waiting for better ones.

Early stopping as in Prechelt, "Early stopping - but when?", 1998. The weights before the first step take part, so that
training never ends worse (on validation) than it began.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class BestWeights:
    """The best of all weights offered.

    Attributes:
        weights: a copy of the best state so far.
        scores: (steps done, score) of every offer.
    """

    def __init__(self, patience: int | None = None) -> None:
        """Nothing is known yet.

        Args:
            patience: offers without a new best after which it is exhausted; None: never.
        """
        self.patience = patience
        self.weights: dict[str, Tensor] = {}
        self.scores: list[tuple[int, float]] = []

    @property
    def waited(self) -> int:
        """Offers since the best one; of equal scores the first counts."""
        values = [score for _, score in self.scores]
        return len(values) - 1 - values.index(max(values)) if values else 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def offer(self, module: nn.Module, updates: int, score: float) -> None:
        """Takes note of a score, and of the weights if it is the best so far.

        Args:
            module: with the weights that were validated.
            updates: steps done.
            score: higher is better.

        Raises:
            ValueError: the score is not finite.
        """
        if not math.isfinite(score):
            raise ValueError(f"the validation score after {updates} steps is {score}; check the validation images")
        self.scores.append((updates, score))
        if self.waited == 0:
            self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        return {"weights": self.weights, "scores": [list(pair) for pair in self.scores]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.weights = dict(state["weights"])
        self.scores = [(int(updates), float(score)) for updates, score in state["scores"]]
