"""The contract of a selector, and what all selectors share: constraints, reachability, the search for the budget."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor

from pruning.cost import Budget

Kept = dict[str, tuple[int, ...]]
"""Group name -> numbers of the units kept, ascending."""

Classes = Mapping[str, Hashable]
"""Group name -> what groups of the same structure have in common (see `pruning.isomorphism`)."""


@dataclass(frozen=True)
class Constraints:
    """How many units a group may keep.

    Attributes:
        round_to: kept units are a multiple of this, rounded up, unless the whole group is kept; one number, or
            group-name pattern (`fnmatch`) -> number, of which the first that matches counts and none means 1.
        min_keep: no group keeps fewer units than this (or than it has).
    """

    round_to: int | Mapping[str, int] = 1
    min_keep: int = 1

    def __post_init__(self) -> None:
        multiples = self.round_to if isinstance(self.round_to, Mapping) else {"": self.round_to}
        entries = [(f"round_to[{pattern!r}]" if pattern else "round_to", value) for pattern, value in multiples.items()]
        for where, value in [*entries, ("min_keep", self.min_keep)]:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{where}: expected an integer >= 1, got {value!r}")

    def allowed(self, name: str, wanted: int, size: int) -> int:
        """The smallest allowed number >= `wanted` for the group of this name, which has `size` units."""
        multiple = self._multiple(name)
        return min(size, math.ceil(max(wanted, self.min_keep) / multiple) * multiple)

    def least(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The fewest units each group may keep."""
        return {name: self.allowed(name, 0, size) for name, size in sizes.items()}

    def require_known(self, names: Iterable[str]) -> None:
        """Refuse patterns that match nothing.

        Raises:
            ValueError: a pattern of `round_to` matches none of the groups.
        """
        known = list(names)
        for pattern in self.round_to if isinstance(self.round_to, Mapping) else ():
            if not any(fnmatchcase(name, pattern) for name in known):
                raise ValueError(f"round_to: {pattern!r} matches no group; groups: {', '.join(known)}")

    def _multiple(self, name: str) -> int:
        if not isinstance(self.round_to, Mapping):
            return self.round_to
        return next((value for pattern, value in self.round_to.items() if fnmatchcase(name, pattern)), 1)


class Selector(ABC):
    """Chooses units. A pure function: no state, no randomness; ties go to the unit with the lower number.

    Attributes:
        name: what the selector is called in configurations.
    """

    name: ClassVar[str]

    @abstractmethod
    def select(
        self,
        scores: Mapping[str, Tensor],
        budget: Budget,
        constraints: Constraints,
        *,
        comparable: bool,
        classes: Classes | None = None,
    ) -> Kept:
        """Keep as much as the budget allows.

        Args:
            scores: group name -> score per unit, float64 [size].
            budget: the cost and its limit.
            constraints: rounding and minimum.
            comparable: whether scores of different groups are on one scale.
            classes: group name -> class of its structure, for selectors that compare like with like.

        Returns:
            Units kept in each group, at a cost within the budget.

        Raises:
            ValueError: a score is not finite, or the budget cannot be met (the closest cost is named).
        """


def require_reachable(sizes: Mapping[str, int], budget: Budget, constraints: Constraints) -> None:
    """Refuse what no scores can help; to be called before any are computed.

    Whether the cost shrinks is tried for each group alone and for all together, from all units to the fewest.

    Args:
        sizes: group name -> number of units.
        budget: the cost and its limit.
        constraints: rounding and minimum.

    Raises:
        ValueError: a pattern of `round_to` matches no group, the cost is not finite or grows when fewer units are
            kept (the group is named), or the budget cannot be met (the closest cost is named).
    """
    constraints.require_known(sizes)
    full, least = budget(sizes), constraints.least(sizes)
    for name, counts in [*((name, {**sizes, name: least[name]}) for name in sizes), ("all", least)]:
        cost = budget(counts)
        if cost > full + 1e-9 * abs(full):
            where = f"group {name!r}" if name in sizes else "every group"
            raise ValueError(
                f"budget: the cost is {full:.6g} {budget.unit} whole and {cost:.6g} with {where} at its minimum; a "
                f"cost must not grow when fewer units are kept (of a measured table take the running maximum)"
            )
    _require_met(budget, budget(least), full)


def search(counts_at: Callable[[int], dict[str, int]], levels: int, budget: Budget) -> int:
    """Number of the mildest of `levels` + 1 settings, ever fewer units from 0 to `levels`, that meets the budget.

    What is returned meets the budget whatever the cost; it is the mildest if the cost never grows on the way.

    Raises:
        ValueError: even the last setting is too expensive, or a cost is not finite.
    """
    _require_met(budget, budget(counts_at(levels)), budget(counts_at(0)))
    low, high = 0, levels
    while low < high:
        middle = (low + high) // 2
        if budget(counts_at(middle)) <= budget.limit:
            high = middle
        else:
            low = middle + 1
    return low


def _require_met(budget: Budget, least: float, full: float) -> None:
    if least > budget.limit:
        share = f" ({least / full:.1%} of {full:.6g})" if full > 0 else ""
        raise ValueError(
            f"budget of {budget.limit:.6g} {budget.unit} cannot be met: the closest is {least:.6g} "
            f"{budget.unit}{share}, with every group at its minimum. Raise the "
            f"budget, lower min_keep or round_to, or leave fewer layers out."
        )


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
