"""One factor per unit, multiplied in where the unit is summed over: gates of criteria, masks of checks.

A factor of zero is exactly removal: the channel is zero after batch norm and activation, at every place where
something else consumes it, whatever its batch-norm offset is (papers: structured_pruning §0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from pruning.groups import Grouping, Sites
from pruning.replay import Edit, replay
from pruning.trace import Inputs, Trace


def gated(
    grouping: Grouping,
    inputs: Inputs,
    factors: Tensor,
    *,
    values: Mapping[str, Tensor] | None = None,
    sites: Sites | None = None,
) -> tuple[Any, ...]:
    """Run the network with every unit multiplied by its factor.

    Args:
        grouping: the network and its units.
        inputs: network inputs, batch N.
        factors: [units], or [N, units] for one factor per example.
        values: replacement tensors, as in `replay`.
        sites: where the factors act; by default where units end (`Grouping.sites`), see also `producers`.

    Returns:
        The flattened outputs.

    Raises:
        ValueError: one factor per example was given, and a gated tensor does not have the batch on axis 0.
    """
    return replay(grouping.trace, inputs, edit=gating(grouping, factors, sites), values=values)


def gating(grouping: Grouping, factors: Tensor, sites: Sites | None = None) -> Edit:
    """The edit of a replay that multiplies every unit by its factor; arguments and errors as of `gated`."""
    one = factors.new_ones(factors.shape[:-1] + (1,))
    extended = torch.cat([factors, one], dim=-1)
    masked = {**grouping.sites, **grouping.weights} if sites is None else sites

    def edit(node: fx.Node, value: Any) -> Any:
        for axis, units in masked.get(node.name, ()):
            shape = [1] * value.ndim
            shape[axis] = len(units)
            if extended.ndim == 2:
                require_batch_first(grouping.trace, node)
                shape[0] = len(extended)
            value = value * extended[..., units.to(extended.device)].reshape(shape)
        return value

    return edit


def require_batch_first(trace: Trace, node: fx.Node) -> None:
    """Refuse a tensor whose values cannot be told apart by example.

    Raises:
        ValueError: its axis 0 is not the batch.
    """
    first = next(n for n in trace.program.graph.nodes if n.name in trace.program.graph_signature.user_inputs)
    batch, leading = first.meta["val"].shape[0], node.meta["val"].shape[0]
    if str(batch) != str(leading):
        raise ValueError(
            f"scores per example need the batch on axis 0 of every tensor where units end, but {node.target} "
            f"returns {list(node.meta['val'].shape)} for a batch of {batch}; score whole batches instead (criterion "
            f"'taylor', per='batch')"
        )


def gate_uses(grouping: Grouping) -> Tensor:
    """At how many tensors each unit is gated: int64 [units]; a residual stream has one use per block."""
    uses = torch.zeros(grouping.units, dtype=torch.int64)
    for site in grouping.sites.values():
        for _, units in site:
            present = torch.unique(units[units >= 0])
            uses[present] += 1
    return uses
