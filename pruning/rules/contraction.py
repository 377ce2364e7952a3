"""Operations that sum over channels: where channels start and end."""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx

from pruning.groups import MacTerm
from pruning.rules.context import UNIFORM, Axes, Context, argument, operand, place, shape_of


def convolution(context: Context, node: fx.Node) -> Axes:
    """Inputs end at the weight's axis 1, outputs start at its axis 0; transposed, the other way round.

    For groups see `_grouped`.
    """
    data, weight = context.operand(node, 0), context.operand(node, 1)
    bias, groups = argument(node, 2, "bias"), int(argument(node, 6, "groups", 1))
    labels, shape, transposed = context.labels, shape_of(node.meta["val"]), "transpose" in str(node.target)
    channel = len(shape) - len(weight) + 1
    for axis in weight[2:]:
        labels.freeze(axis, "kernel axis")
    for axis in data[channel + 1 :]:
        labels.freeze(axis, f"window of {place(node)}")
    sources, results = (0, 1) if transposed else (1, 0)
    if groups == 1:
        labels.tie(data[channel], weight[sources])
        context.end(node, 0, channel)
        outputs = weight[results]
    elif transposed:
        outputs = _grouped_transposed(context, node, channel, groups)
    else:
        _grouped(context, node, channel, groups)
        outputs = weight[results]
    if isinstance(bias, fx.Node):
        labels.tie(context.axes(bias)[0], outputs)
    swept = shape_of(operand(node, 0).meta["val"]) if transposed else shape
    positions = math.prod(swept) / swept[channel] / context.batch
    taps = math.prod(len(axis) for axis in weight[2:])
    context.terms.append(MacTerm(node.name, positions * taps, (weight[0], weight[1])))
    return [*data[:channel], outputs, *context.fixed(shape[channel + 1 :], "spatial axis")]


def _grouped_transposed(context: Context, node: fx.Node, channel: int, groups: int) -> Tensor:
    """As `_grouped`, for a weight [inputs, outputs / groups]; returns the labels of the outputs."""
    labels, weight = context.labels, context.operand(node, 1)
    data = context.operand(node)[channel]
    labels.tie(data, weight[0])
    inputs = data.reshape(groups, -1)
    if groups >= inputs.shape[1]:
        labels.freeze(weight[1], f"inside the groups of {place(node)}")
        context.whole_groups[operand(node, 1)] = groups
        for column in range(1, inputs.shape[1]):
            labels.tie(inputs[:, 0], inputs[:, column])
        return weight[0].reshape(groups, -1)[:, 0].repeat_interleave(len(weight[1]))
    for row in range(1, groups):
        labels.tie(inputs[0], inputs[row])
    context.end(node, 0, channel)
    return weight[1].repeat(groups)


def _grouped(context: Context, node: fx.Node, channel: int, groups: int) -> None:
    """Two ways to keep the groups of a grouped convolution equal in size, whichever leaves more choices.

    Many groups (depthwise included): a unit is a whole group, its inputs and outputs together, and `groups`
    shrinks. Few groups: slot j of every group goes together, and `groups` stays.
    """
    labels, weight = context.labels, context.operand(node, 1)
    inputs, outputs = context.operand(node, 0)[channel].reshape(groups, -1), weight[0].reshape(groups, -1)
    if groups >= inputs.shape[1]:
        labels.freeze(weight[1], f"inside the groups of {place(node)}")
        context.whole_groups[operand(node, 1)] = groups
        members = torch.cat([inputs, outputs], dim=1)
        for column in range(1, members.shape[1]):
            labels.tie(members[:, 0], members[:, column])
        return
    for slots in (inputs, outputs):
        for row in range(1, groups):
            labels.tie(slots[0], slots[row])
    labels.tie(inputs[0], weight[1])
    context.end(node, 0, channel)


def linear(context: Context, node: fx.Node) -> Axes:
    """Input features (last axis) end at the weight's axis 1; output features start at its axis 0."""
    data, weight = context.operand(node, 0), context.operand(node, 1)
    bias = argument(node, 2, "bias")
    context.labels.tie(data[-1], weight[1])
    context.end(node, 0, -1)
    if isinstance(bias, fx.Node):
        context.labels.tie(context.axes(bias)[0], weight[0])
    result = [*data[:-1], weight[0]]
    context.terms.append(MacTerm(node.name, 1 / context.batch, (*result, weight[1])))
    return result


def matmul(context: Context, node: fx.Node) -> Axes:
    """[..., m, k] @ [..., k, n]: the two k axes are tied and end; leading axes broadcast."""
    left, right = context.operand(node, 0), context.operand(node, 1)
    if min(len(left), len(right)) < 2:
        return vector_product(context, node)
    return _product(context, node, 0)


def vector_product(context: Context, node: fx.Node) -> Axes:
    """[..., k] @ [k] or [k] @ [..., k, n]: the two k axes are tied and end. Counters of MACs leave it out."""
    left, right = context.operand(node, 0), context.operand(node, 1)
    axis = max(len(right) - 2, 0)
    context.labels.tie(left[-1], right[axis])
    context.end(node, 0, -1)
    context.end(node, 1, axis)
    return [*left[:-1], *right[:axis], *right[axis + 1 :]]


def added_matmul(context: Context, node: fx.Node) -> Axes:
    """offset + left @ right, the offset broadcast over the product."""
    result = _product(context, node, 1)
    return stretched(context, node, [result, context.operand(node, 0)], shape_of(node.meta["val"]))


def _product(context: Context, node: fx.Node, first: int) -> Axes:
    """The matrix product of the operands at positions `first` and `first` + 1, both with two axes or more."""
    left, right = context.operand(node, first), context.operand(node, first + 1)
    context.labels.tie(left[-1], right[-2])
    context.end(node, first, -1)
    context.end(node, first + 1, -2)
    lead = stretched(context, node, [left[:-2], right[:-2]], shape_of(node.meta["val"])[:-2])
    result = [*lead, left[-2], right[-1]]
    context.terms.append(MacTerm(node.name, 1 / context.batch, (*result, left[-1])))
    return result


def stretched(context: Context, node: fx.Node, operands: list[Axes], shape: tuple[int, ...]) -> Axes:
    """Broadcasting: aligned axes of equal size are tied, a stretched size-1 axis is frozen."""
    result: list[Tensor | None] = [None] * len(shape)
    uniform = context.labels.fixed(1, UNIFORM)
    for axes in operands:
        for position, axis in enumerate(axes, start=len(shape) - len(axes)):
            other = result[position]
            if len(axis) != shape[position]:
                context.labels.freeze(axis, f"stretched by {place(node)}")
            elif other is None or bool((other == uniform).all()):
                result[position] = axis
            elif not bool((axis == uniform).all()):
                result[position] = context.labels.merged(other, axis)
    reason = f"size written out at {place(node)}"
    return [context.labels.fixed(n, reason) if a is None else a for n, a in zip(shape, result, strict=True)]
