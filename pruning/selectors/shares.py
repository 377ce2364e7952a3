"""The choice behind every selector: classes of groups that all lose the same share of their units."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Classes, Constraints, search


def equal_shares(
    ranks: Mapping[str, Tensor], classes: Classes, budget: Budget, constraints: Constraints
) -> dict[str, int]:
    """Units to keep in each group when every class loses the smallest common share that meets the budget.

    One class of all groups is global selection; a class for each group is local selection.

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

    return search(counts_at, len(shares) - 1, budget)
