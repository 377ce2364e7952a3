"""The filter of a unit: the weights that compute it, as one vector.

A group with several producers (the layers that add into one residual stream) has one filter per unit: the
concatenation of what each producer computes it with, in the order of the group's members.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pruning.criteria.magnitude import weight_members
from pruning.groups import Grouping, Member
from pruning.layers import output_axes
from pruning.trace import tensors_of


def filters(grouping: Grouping, values: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Group name -> the filter of each unit, float64 [size, weights per unit].

    Biases, batch-norm parameters and what later layers do with the unit are no part of a filter.

    Args:
        grouping: the network and its groups.
        values: what to take in place of the weights, such as their gradients: qualified name -> tensor.

    Raises:
        ValueError: no weight computes the units of a group (the group is named).
    """
    table = tensors_of(grouping.trace.model) if values is None else values
    return {
        name: torch.cat([_rows(member, table[member.tensor].detach().double()) for member in members], dim=1)
        for name, members in filter_members(grouping).items()
    }


def filter_members(grouping: Grouping) -> dict[str, list[Member]]:
    """Group name -> the weights that hold its filters.

    Raises:
        ValueError: as for `filters`.
    """
    tensors, axes = tensors_of(grouping.trace.model), output_axes(grouping.trace)
    found = {}
    for group in grouping.groups:
        found[group.name] = [m for m in weight_members(group, tensors) if m.axis == axes.get(m.tensor, 0)]
        if not found[group.name]:
            raise ValueError(
                f"group {group.name!r} has no filters: none of its weights computes it, only "
                f"{', '.join(m.tensor for m in group.members)}; leave it out with ignore=, or choose another criterion "
                f"or schedule"
            )
    return found


def _rows(member: Member, values: Tensor) -> Tensor:
    """Everything each unit owns of a tensor, as rows: [size, positions * rest]."""
    along = values.movedim(member.axis, 0).flatten(1)
    return along[torch.tensor(member.indices, device=values.device)].flatten(1)
