"""Filters set to zero: what soft pruning does to a unit instead of removing it.

He, Kang, Dong, Fu, Yang, "Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks", IJCAI 2018, arXiv
1808.06866, algorithm 1. As there, batch norms keep their parameters, through which a zeroed filter learns again; what
they make of zero, act(beta), goes on until the unit is cut. With biases, which that paper's networks do not have, a
filter's own bias is zeroed too (reconstructed).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from pruning.criteria.magnitude import weight_members
from pruning.groups import Group, Grouping, Member
from pruning.layers import output_axes
from pruning.trace import tensors_of


def zero_filters(grouping: Grouping, kept: Mapping[str, tuple[int, ...]], model: nn.Module) -> None:
    """Set weights and biases that make the other units to zero, in place.

    Args:
        grouping: the network and its groups.
        kept: units that are left alone, by group; a group that is not named is left alone.
        model: the module whose parameters are changed; shaped like the traced one.

    Raises:
        ValueError: no weight makes the units of a group (it is named); nothing has changed.
    """
    tensors, found = tensors_of(model), list[tuple[Member, int]]()
    for group in grouping.groups:
        gone = sorted(set(range(group.size)) - set(kept.get(group.name, range(group.size))))
        if gone:
            found += [(member, unit) for member in weights_and_biases(grouping, group) for unit in gone]
    with torch.no_grad():
        for member, unit in found:
            tensor = tensors[member.tensor]
            tensor.index_fill_(member.axis, torch.tensor(member.indices[unit], device=tensor.device), 0)


def weights_and_biases(grouping: Grouping, group: Group) -> list[Member]:
    """The parameters that are zeroed for a group's units.

    Raises:
        ValueError: no weight makes the units.
    """
    axes = output_axes(grouping.trace)
    parameters = weight_members(group, tensors_of(grouping.trace.model))
    weights = [member for member in parameters if member.axis == axes.get(member.tensor, 0)]
    if not weights:
        raise ValueError(
            f"group {group.name!r} has no filters that could be zeroed, only "
            f"{', '.join(m.tensor for m in group.members)}; leave it out with ignore=, or choose another schedule"
        )
    layers = {_layer(member.tensor) for member in weights}
    biases = [m for m in group.members if "bias" in m.tensor.rpartition(".")[2] and _layer(m.tensor) in layers]
    return [*weights, *biases]


def _layer(tensor: str) -> str:
    return tensor.rpartition(".")[0]
