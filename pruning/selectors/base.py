"""The contract of a selector, and the search all selectors share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pruning.cost import Budget

Kept = dict[str, tuple[int, ...]]
"""Group name -> numbers of the units kept, ascending."""


@dataclass(frozen=True)
class Constraints:
    """How many units a group may keep.

    Attributes:
        round_to: kept units are a multiple of this, rounded up, unless the whole group is kept.
        min_keep: no group keeps fewer units than this (or than it has).
    """

    round_to: int = 1
    min_keep: int = 1

    def __post_init__(self) -> None:
        for name in ("round_to", "min_keep"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected an integer >= 1, got {value!r}")

    def allowed(self, wanted: int, size: int) -> int:
        """The smallest allowed number >= `wanted` for a group of `size` units."""
        least = max(wanted, self.min_keep)
        return min(size, math.ceil(least / self.round_to) * self.round_to)


class Selector(ABC):
    """Chooses units. A pure function: no state, no randomness; ties go to the unit with the lower number.

    Attributes:
        name: what the selector is called in configurations.
    """

    name: ClassVar[str]

    @abstractmethod
    def select(
        self, scores: Mapping[str, Tensor], budget: Budget, constraints: Constraints, *, comparable: bool
    ) -> Kept:
        """Keep as much as the budget allows.

        Args:
            scores: group name -> score per unit, float64 [size].
            budget: the cost and its limit.
            constraints: rounding and minimum.
            comparable: whether scores of different groups are on one scale.

        Returns:
            Units kept in each group, at a cost within the budget.

        Raises:
            ValueError: a score is not finite, or the budget cannot be met (the closest cost is named).
        """


def search(counts_at: Callable[[int], dict[str, int]], levels: int, budget: Budget) -> dict[str, int]:
    """The mildest of `levels` + 1 settings, ever fewer units from 0 to `levels`, that meets the budget.

    Raises:
        ValueError: even the last setting is too expensive.
    """
    least = budget.cost(counts_at(levels))
    if least > budget.limit:
        full = budget.cost(counts_at(0))
        raise ValueError(
            f"budget of {budget.limit:.6g} {budget.unit} cannot be met: the closest is {least:.6g} "
            f"{budget.unit} ({least / full:.1%} of {full:.6g}), with every group at its minimum. Raise the "
            f"budget, lower min_keep or round_to, or ignore fewer layers."
        )
    low, high = 0, levels
    while low < high:
        middle = (low + high) // 2
        if budget.cost(counts_at(middle)) <= budget.limit:
            high = middle
        else:
            low = middle + 1
    return counts_at(low)


def best_units(scores: Mapping[str, Tensor], counts: Mapping[str, int]) -> Kept:
    """The highest-scoring units of each group, in ascending order of number."""
    return {
        name: tuple(sorted(torch.argsort(score, descending=True, stable=True)[: counts[name]].tolist()))
        for name, score in scores.items()
    }


def require_finite(scores: Mapping[str, Tensor]) -> None:
    """Refuse scores that cannot be ranked.

    Raises:
        ValueError: there are no groups, or a score is NaN or infinite (the group is named).
    """
    if not scores:
        raise ValueError("nothing can be pruned: every channel is frozen or ignored; see the reasons in `frozen`")
    for name, score in scores.items():
        if not bool(torch.isfinite(score).all()):
            bad = int((~torch.isfinite(score)).nonzero()[0])
            raise ValueError(f"scores[{name!r}]: expected finite numbers, unit {bad} has {float(score[bad])}")
