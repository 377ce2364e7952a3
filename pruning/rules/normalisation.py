"""Normalisation. Statistics per channel pass; statistics over channels depend on their number.

The mean of twelve channels of which four are held at zero is not the mean of the other eight, so a channel
that a layer norm averages over can never go; a group norm can lose whole groups, as no other group sees them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from pruning.rules.context import Axes, Context, argument, place, shape_of


def per_channel(context: Context, node: fx.Node) -> Any:
    """Batch and instance norm: scale, shift and every statistic are tied to axis 1."""
    data = context.operand(node)
    for entry in node.args[1:5]:
        if isinstance(entry, fx.Node):
            context.labels.tie(data[1], context.axes(entry)[0])
    return _results(context, node, data)


def layer_norm(context: Context, node: fx.Node) -> Any:
    """Layer and RMS norm: the last axes are averaged over, so they stay whole; the others pass."""
    data = context.operand(node)
    normalised = argument(node, 1, "normalized_shape")
    reason = f"averaged over by {place(node)}"
    for axis in data[len(data) - len(normalised) :]:
        context.labels.freeze(axis, reason)
    for entry in node.all_input_nodes[1:]:
        for axis in context.axes(entry):
            context.labels.freeze(axis, reason)
    return _results(context, node, data)


def group_norm(context: Context, node: fx.Node) -> Any:
    """A unit is a whole group of channels (Wu & He 2018, eq. 7), and the number of groups shrinks.

    Its number is an attribute of the layer, found by its scale; without a scale nothing can go.
    """
    data, native = context.operand(node), "native" in str(node.target)
    groups = int(argument(node, 6, "group") if native else argument(node, 1, "num_groups"))
    scale = argument(node, 1 if native else 2, "weight")
    for entry in (scale, argument(node, 2 if native else 3, "bias")):
        if isinstance(entry, fx.Node):
            context.labels.tie(data[1], context.axes(entry)[0])
    for axis in data[2:]:
        context.labels.freeze(axis, f"averaged over by {place(node)}")
    if groups == 1 or not isinstance(scale, fx.Node):
        context.labels.freeze(data[1], f"averaged over by {place(node)}")
    else:
        members = data[1].reshape(groups, -1)
        for column in range(1, members.shape[1]):
            context.labels.tie(members[:, 0], members[:, column])
        context.whole_groups[scale] = groups
    return _results(context, node, data)


def _results(context: Context, node: fx.Node, data: Axes) -> Any:
    """The normalised tensor alone, or first of several; the statistics beside it keep no channels."""
    value = node.meta["val"]
    if isinstance(value, Tensor):
        return data
    return (data, *(context.fixed(shape_of(entry), "statistic of a norm") for entry in value[1:]))
