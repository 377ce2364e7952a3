"""Where units are made."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx

from pruning.criteria.magnitude import weight_members
from pruning.groups import Grouping, Sites
from pruning.layers import LAYERS, channel_axis, following_norm, output_axes
from pruning.rules import operation
from pruning.rules.context import operand
from pruning.trace import tensors_of


def producers(grouping: Grouping, *, fold: bool = True) -> Sites:
    """Where units are made: the outputs of convolutions, linear layers and products with a parameter.

    Multiplying a unit's channels there by z is multiplying its filters and their biases by z, so derivatives
    with respect to z are those along θ_s, the parameters a unit owns on its output side (of all its layers,
    where several are tied together).

    Args:
        grouping: the network and its units.
        fold: fold the batch norm that directly follows a layer into the filters first; z then acts after it.

    Raises:
        ValueError: a group has units that no layer makes, or that something else makes too (it is named).
    """
    found, made = {}, makers(grouping)
    for layer, units in made.items():
        norm = following_norm(layer) if fold else None
        found[(norm or layer).name] = ((channel_axis(layer), units),)
    _refuse_other_makers(grouping, made)
    present = torch.zeros(grouping.units + 1, dtype=torch.bool)
    for units in made.values():
        present[units] = True
    for name, part in grouping.split(present[:-1]).items():
        if not bool(part.all()):
            raise ValueError(
                f"group {name!r}: no convolution, linear layer or product with a parameter makes its units, "
                f"so they have no filters; leave the group out with ignore=, or choose another criterion"
            )
    return found


def _refuse_other_makers(grouping: Grouping, made: Iterable[fx.Node]) -> None:
    lifted, outputs = grouping.trace.tensors(), output_axes(grouping.trace)
    known = {lifted[operand(layer, 1).name] for layer in made}
    tensors = tensors_of(grouping.trace.model)
    for group in grouping.groups:
        for member in weight_members(group, tensors):
            if member.axis == outputs.get(member.tensor, 0) and member.tensor not in known:
                raise ValueError(
                    f"group {group.name!r}: {member.tensor} makes its units in a way that is not known here (a "
                    f"transposed convolution, say); leave the group out with ignore=, or choose another criterion"
                )


def makers(grouping: Grouping) -> dict[fx.Node, Tensor]:
    """Layers that make units, in the order they run -> unit of each of their channels, -1 = none: int64 [size]."""
    axes, weights, found = unit_axes(grouping), grouping.trace.tensors(), {}
    outputs = output_axes(grouping.trace)
    for node in grouping.trace.program.graph.nodes:
        kind = operation(node)
        if node.op == "call_function" and kind in LAYERS:
            weight = weights.get(operand(node, 1).name, "")
            units = axes.get((weight, outputs.get(weight, 0)))
            if units is not None:
                found[node] = units
    return found


def unit_axes(grouping: Grouping) -> dict[tuple[str, int], Tensor]:
    """(parameter or buffer, axis) -> unit of each position, -1 = none: int64 [size]."""
    values, axes, start = grouping.trace.values(), dict[tuple[str, int], Tensor](), 0
    for group in grouping.groups:
        numbers = torch.arange(start, start + group.size)
        for member in group.members:
            size = values[member.tensor].shape[member.axis]
            units = axes.setdefault((member.tensor, member.axis), torch.full((size,), -1))
            units[torch.tensor(member.indices)] = numbers[:, None]
        start += group.size
    return axes
