"""The choice behind every selector: classes of groups that all lose the same share of their units."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Classes, Constraints, search

REST = 0.1
"""Share of a budget that may stay unused; with less at stake one threshold for all groups is worth more."""


def equal_shares(
    ranks: Mapping[str, Tensor], classes: Classes, budget: Budget, constraints: Constraints
) -> dict[str, int]:
    """Units to keep in each group when every class loses the smallest common share that meets the budget.

    One class of all groups is global selection, which also gives back what a large unit left over when it went last; a
    class for each group is local selection.

    Args:
        ranks: group name -> a number per unit, comparable within the group's class; the lowest go first.
        classes: group name -> its class.
        budget: the cost and its limit.
        constraints: rounding and minimum.

    Raises:
        ValueError: the budget cannot be met (the closest cost is named).
    """
    groups_of: dict[Hashable, list[str]] = {}
    for name in ranks:
        groups_of.setdefault(classes[name], []).append(name)
    places: dict[str, list[int]] = {name: [] for name in ranks}
    sizes: dict[str, int] = {}
    for names in groups_of.values():
        owner = [name for name in names for _ in range(len(ranks[name]))]
        sizes |= dict.fromkeys(names, len(owner))
        for place, unit in enumerate(torch.argsort(torch.cat([ranks[n] for n in names]), stable=True).tolist()):
            places[owner[unit]].append(place)
    shares = [part for _, part in sorted({k / n: (k, n) for n in set(sizes.values()) for k in range(n + 1)}.items())]

    def counts_at(level: int) -> dict[str, int]:
        part, whole = shares[level]
        return {
            name: constraints.allowed(name, len(own) - bisect_left(own, sizes[name] * part // whole), len(own))
            for name, own in places.items()
        }

    level = search(counts_at, len(shares) - 1, budget)
    return counts_at(level) if len(groups_of) > 1 else _with_rest(counts_at, level, budget)


def _with_rest(counts_at: Callable[[int], dict[str, int]], level: int, budget: Budget) -> dict[str, int]:
    """Gives back what a large unit, such as an attention head, left over when it went last.

    The group that this unit was taken from stays as it is, and the others lose no more than they must; again while
    more than `REST` of the budget is unused.

    Args:
        counts_at: number of a setting, ever fewer units -> units to keep.
        level: of the mildest setting that meets the budget.
        budget: the cost and its limit.
    """
    held: dict[str, int] = {}

    def counts(number: int) -> dict[str, int]:
        return {**counts_at(number), **held}

    while level > 0 and budget(counts(level)) < (1 - REST) * budget.limit:
        now, milder = counts(level), counts(level - 1)
        held.update((name, now[name]) for name in now if now[name] != milder[name])
        level = search(counts, level - 1, budget)
    return counts(level)
