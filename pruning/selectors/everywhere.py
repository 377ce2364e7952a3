"""Global selection: the lowest-scoring units of the whole network go first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Constraints, Kept, Selector, best_units, require_finite, search

Normalise = Literal["auto", "none", "mean", "max", "l2"]


@final
class GlobalSelector(Selector):
    """One ranking over all groups, after dividing each group's scores by a norm of its own."""

    name: ClassVar[str] = "global"

    def __init__(self, normalise: Normalise = "auto") -> None:
        """Choose the scale.

        Args:
            normalise: divisor of a group's scores: their "mean", "max", "l2" norm or "none"; "auto" is "none"
                for criteria whose scores are comparable between groups, and "mean" for the others.

        Raises:
            ValueError: another value.
        """
        if normalise not in ("auto", "none", "mean", "max", "l2"):
            raise ValueError(f"normalise: expected auto, none, mean, max or l2, got {normalise!r}")
        self.normalise = normalise

    def select(
        self, scores: Mapping[str, Tensor], budget: Budget, constraints: Constraints, *, comparable: bool
    ) -> Kept:
        """See `Selector.select`."""
        require_finite(scores)
        names = list(scores)
        scaled = torch.cat([self._scaled(scores[name].double(), comparable) for name in names])
        owner = [name for name in names for _ in range(len(scores[name]))]
        removal: dict[str, list[int]] = {name: [] for name in names}
        for step, unit in enumerate(torch.argsort(scaled, stable=True).tolist()):
            removal[owner[unit]].append(step)

        def counts_at(level: int) -> dict[str, int]:
            return {
                name: constraints.allowed(len(steps) - bisect_left(steps, level), len(steps))
                for name, steps in removal.items()
            }

        return best_units(scores, search(counts_at, len(owner), budget))

    def _scaled(self, score: Tensor, comparable: bool) -> Tensor:
        kind = self.normalise if self.normalise != "auto" else ("none" if comparable else "mean")
        divisor = {
            "none": lambda: score.new_ones(()),
            "mean": lambda: score.abs().mean(),
            "max": lambda: score.abs().max(),
            "l2": lambda: score.norm(),
        }[kind]()
        return score / divisor if float(divisor) > 0 else score
