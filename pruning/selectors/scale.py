"""One scale for the scores of several groups: a divisor per group, and what a unit costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Constraints

Normalise = Literal["auto", "none", "mean", "max", "l2"]
Price = float | Literal["fit"]


@final
class Scale:
    """score / divisor − price · cost of the unit.

    A unit is worth its place if its score exceeds price · cost. "fit" is the price at which just those units are
    left that the budget has room for; for non-negative scores their order is that of score / cost, so it needs no
    search. A number is the λ of Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", ICLR 2017, arXiv 1611.06440, section 2.2 (there 1e-3 per million operations).

    The cost of a unit is the mean over its group: what the budget's cost falls by when the group alone goes from all
    of its units to the fewest allowed. So a cost in steps, such as latency, has no flat places here.
    """

    def __init__(self, normalise: Normalise = "auto", price: Price = 0.0) -> None:
        """Choose the scale.

        Args:
            normalise: divisor of a group's scores: their "mean" magnitude, "max", "l2" norm or "none"; "auto" is
                "none" for criteria whose scores are comparable between groups, and "mean" for the others.
            price: of one unit of the budget's cost (a MAC, a millisecond), in divided scores; >= 0, or "fit".

        Raises:
            ValueError: another value.
        """
        if normalise not in ("auto", "none", "mean", "max", "l2"):
            raise ValueError(f"normalise: expected auto, none, mean, max or l2, got {normalise!r}")
        if price != "fit" and not (isinstance(price, int | float) and 0 <= price < float("inf")):
            raise ValueError(f"price: expected a finite number >= 0 or 'fit', got {price!r}")
        self.normalise, self.price = normalise, price

    def __call__(
        self, scores: Mapping[str, Tensor], budget: Budget, constraints: Constraints, *, comparable: bool
    ) -> dict[str, Tensor]:
        """Group name -> number per unit, float64 [size], comparable between groups.

        Raises:
            ValueError: the price is "fit" and a score is negative (the group is named).
        """
        kind = self.normalise if self.normalise != "auto" else ("none" if comparable else "mean")
        scaled = {name: divided(score.double(), kind) for name, score in scores.items()}
        if self.price == 0:
            return scaled
        costs = unit_costs({name: len(score) for name, score in scores.items()}, budget, constraints)
        return {name: self._priced(name, score, costs[name]) for name, score in scaled.items()}

    def _priced(self, name: str, score: Tensor, cost: float) -> Tensor:
        if self.price != "fit":
            return score - self.price * cost
        if bool((score < 0).any()):
            raise ValueError(
                f"price 'fit' compares score / cost, but group {name!r} has scores below zero; give a "
                f"number instead, or choose another selector"
            )
        return score / cost if cost > 0 else torch.full_like(score, float("inf"))


def unit_costs(sizes: Mapping[str, int], budget: Budget, constraints: Constraints) -> dict[str, float]:
    """Group name -> what one unit costs, in the budget's unit, averaged over all that may go; see `Scale`."""
    full, least = budget(sizes), constraints.least(sizes)
    return {
        name: (full - budget({**sizes, name: least[name]})) / max(1, size - least[name]) for name, size in sizes.items()
    }


def divided(score: Tensor, kind: str) -> Tensor:
    """Scores over their "mean" magnitude, "max", "l2" norm or nothing ("none"); unchanged if that is zero."""
    divisor = {
        "none": lambda: score.new_ones(()),
        "mean": lambda: score.abs().mean(),
        "max": lambda: score.abs().max(),
        "l2": lambda: score.norm(),
    }[kind]()
    return score / divisor if float(divisor) > 0 else score
