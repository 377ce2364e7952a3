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

from pruning.criteria.filters import filter_members
from pruning.groups import Grouping, Member
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
    tensors, members, found = tensors_of(model), filters_and_biases(grouping), list[tuple[Member, int]]()
    for group in grouping.groups:
        gone = sorted(set(range(group.size)) - set(kept.get(group.name, range(group.size))))
        if gone:
            found += [(member, unit) for member in members[group.name] for unit in gone]
    with torch.no_grad():
        for member, unit in found:
            tensor = tensors[member.tensor]
            tensor.index_fill_(member.axis, torch.tensor(member.indices[unit], device=tensor.device), 0)


def filters_and_biases(grouping: Grouping) -> dict[str, list[Member]]:
    """Group name -> the parameters that are zeroed for its units.

    Raises:
        ValueError: no weight makes the units of a group (it is named).
    """
    found = {}
    for group, weights in zip(grouping.groups, filter_members(grouping).values(), strict=True):
        layers = {_layer(member.tensor) for member in weights}
        biases = [m for m in group.members if "bias" in m.tensor.rpartition(".")[2] and _layer(m.tensor) in layers]
        found[group.name] = [*weights, *biases]
    return found


def _layer(tensor: str) -> str:
    return tensor.rpartition(".")[0]
