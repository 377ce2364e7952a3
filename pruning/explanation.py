"""`explain`: what of a network can be pruned, what goes together, and what cannot be pruned and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pruning.cost import Cost, full_counts
from pruning.groups import Frozen, Grouping


@dataclass(frozen=True)
class GroupRow:
    """One group, for people.

    Attributes:
        name: the layer whose output channels these are.
        units: how many there are to remove.
        layers: every layer that shrinks with them.
        share: of the network's multiply-accumulates that would go with half of the units, the others kept whole.
    """

    name: str
    units: int
    layers: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Explanation:
    """What `prune` would work with.

    Attributes:
        groups: what can be pruned.
        frozen: what cannot, by the reason.
        least: share of the multiply-accumulates left with one unit in every group; no budget can ask for less.
    """

    groups: tuple[GroupRow, ...]
    frozen: Mapping[str, tuple[Frozen, ...]]
    least: float


def explain(grouping: Grouping, cost: Cost) -> Explanation:
    """Describes a network's groups.

    Args:
        grouping: of `find_safe_groups`.
        cost: `macs_cost(grouping, count_macs(...))`.
    """
    full = full_counts(grouping)
    whole = cost(full)
    rows = tuple(
        GroupRow(
            group.name,
            group.size,
            tuple(dict.fromkeys(member.tensor.rpartition(".")[0] or member.tensor for member in group.members)),
            1 - cost({**full, group.name: max(1, group.size // 2)}) / whole,
        )
        for group in grouping.groups
    )
    reasons: dict[str, list[Frozen]] = {}
    for entry in grouping.frozen:
        reasons.setdefault(entry.reason, []).append(entry)
    frozen = {reason: tuple(entries) for reason, entries in reasons.items()}
    return Explanation(rows, frozen, cost(dict.fromkeys(full, 1)) / whole)
