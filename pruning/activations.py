"""What a network computes on the way, and its sums over everything that belongs to a unit."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch import Tensor, fx

from pruning.replay import Edit, replay
from pruning.trace import Inputs, Trace


def activations(trace: Trace, inputs: Inputs, nodes: Container[str], *, edit: Edit | None = None) -> dict[str, Tensor]:
    """Results of some operations, in evaluation mode and without a gradient.

    Args:
        trace: the network.
        inputs: network inputs, batch N.
        nodes: names of operations; `Grouping.sites` for every tensor where units end.
        edit: changes results before they are kept and passed on, as in `replay`.

    Returns:
        Node name -> its result, in the network's dtype.
    """
    found: dict[str, Tensor] = {}

    def keep(node: fx.Node, value: Any) -> Any:
        value = value if edit is None else edit(node, value)
        if node.name in nodes:
            found[node.name] = value
        return value

    with torch.no_grad():
        replay(trace, inputs, edit=keep)
    return found


def sum_per_unit(value: Tensor, axis: int, units: Tensor, count: int) -> Tensor:
    """Sum of a tensor over everything at each unit's positions of an axis.

    Args:
        value: any shape.
        axis: the axis of units.
        units: unit of each position of that axis, -1 = none: int64 [size].
        count: number of units.

    Returns:
        float64 [count], on the value's device; zero for units not present.
    """
    along = value.double().movedim(axis, 0).reshape(len(units), -1).sum(1)
    present = units >= 0
    total = torch.zeros(count, dtype=torch.float64, device=value.device)
    return total.index_add(0, units[present].to(value.device), along[present.to(value.device)])
