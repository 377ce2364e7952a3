"""The groups of a network after a cut: the groups it had, less the units that went."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pruning.groups import Group, Grouping, MacTerm, Member, Sites
from pruning.plan import Plan
from pruning.trace import Trace

Shrink = Callable[[Tensor], Tensor]


def remaining(grouping: Grouping, kept: Mapping[str, tuple[int, ...]], cut: Trace) -> Grouping:
    """Groups of the cut network, by the names they had; unit i of a group is unit `kept[name][i]` of before.

    They are renumbered, not found anew: fewer channels can be read in other ways (a convolution with one channel
    left in each of its groups looks like a depthwise one), and scores must go on meaning the same units.

    Args:
        grouping: before the cut.
        kept: units kept of every group, ascending.
        cut: trace of the network after the cut.

    Raises:
        RuntimeError: the cut network does other operations than before.
    """
    before, after = ([(n.name, str(n.target)) for n in t.program.graph.nodes] for t in (grouping.trace, cut))
    if before != after:
        what = next((one for one in after if one not in before), next((one for one in before if one not in after), ""))
        raise RuntimeError(
            f"after a cut the network does other operations than before it ({what} differs), as its code looks at "
            f"sizes; leave the layers it looks at out with ignore=, or cut once (schedule 'one-shot')"
        )
    plan, shrink = Plan.from_kept(grouping, kept), _renumbering(grouping, kept)
    places = {(axis.tensor, axis.axis): {old: new for new, old in enumerate(axis.kept)} for axis in plan.axes}
    counts = dict(plan.groups)
    return Grouping(
        trace=cut,
        groups=tuple(_group(group, kept[group.name], places) for group in grouping.groups),
        frozen=grouping.frozen,
        terms=tuple(MacTerm(term.node, term.factor, tuple(map(shrink, term.axes))) for term in grouping.terms),
        sites=_sites(grouping.sites, shrink),
        whole_groups={w: counts.get(w.rpartition(".")[0], count) for w, count in grouping.whole_groups.items()},
        weights=_sites(grouping.weights, shrink),
    )


def _renumbering(grouping: Grouping, kept: Mapping[str, tuple[int, ...]]) -> Shrink:
    """Units of the positions of an axis before the cut -> of those that are left of it."""
    stays = torch.zeros(grouping.units + 1, dtype=torch.bool)
    stays[-1] = True  # no unit, -1, is never cut
    for group in grouping.groups:
        stays[torch.tensor(kept[group.name]) + grouping.start(group.name)] = True
    number = stays.cumsum(0) - 1
    number[-1] = -1

    def shrink(units: Tensor) -> Tensor:
        return number[units[stays[units]]]

    return shrink


def _group(group: Group, kept: tuple[int, ...], places: Mapping[tuple[str, int], Mapping[int, int]]) -> Group:
    members = []
    for member in group.members:
        moved = places.get((member.tensor, member.axis))
        indices = (member.indices[unit] for unit in kept)
        renumbered = tuple(own if moved is None else tuple(moved[position] for position in own) for own in indices)
        members.append(Member(member.tensor, member.axis, renumbered))
    return Group(group.name, len(kept), tuple(members))


def _sites(sites: Sites, shrink: Shrink) -> Sites:
    return {node: tuple((axis, shrink(units)) for axis, units in site) for node, site in sites.items()}
