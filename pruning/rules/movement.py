"""Operations that move values without changing them: concatenate, permute, reshape, slice, pad."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import fx

from pruning.labels import tracked
from pruning.rules.context import Axes, Context, argument, operand, place, shape_of, unknown


def concatenation(context: Context, node: fx.Node) -> Axes:
    """Labels are concatenated along the axis; all other axes are tied."""
    listed = node.args[0]
    assert isinstance(listed, tuple | list)
    parts = [context.axes(part) for part in listed if isinstance(part, fx.Node)]
    dim = int(argument(node, 1, "dim", 0)) % len(parts[0])
    result = []
    for position in range(len(parts[0])):
        axes = [part[position] for part in parts]
        if position == dim:
            reason = f"concatenated by {place(node)}"
            result.append(torch.cat([context.settled(axis, reason) for axis in axes]))
            continue
        result.append(reduce(context.labels.merged, axes))
    return result


def permutation(context: Context, node: fx.Node) -> Axes:
    """Axes change place."""
    data = context.operand(node)
    if "permute" in str(node.target):
        return [data[dim] for dim in argument(node, 1, "dims")]
    if len(data) < 2:
        return data
    first, second = (0, 1) if len(node.args) < 3 else (argument(node, 1, "dim0"), argument(node, 2, "dim1"))
    data[first], data[second] = data[second], data[first]
    return data


def slicing(context: Context, node: fx.Node) -> Axes:
    """A slice that keeps everything passes; any other freezes its axis and returns fixed positions."""
    data = context.operand(node)
    dim = int(argument(node, 1, "dim", 0)) % len(data)
    size = shape_of(node.meta["val"])[dim]
    if size != len(data[dim]) or int(argument(node, 4, "step", 1)) != 1:
        reason = f"sliced by {place(node)}" if tracked(data[dim]) else "spatial axis"
        context.labels.freeze(data[dim], reason)
        data[dim] = context.labels.fixed(size, reason)
    return data


def selection(context: Context, node: fx.Node) -> Axes:
    """One index of an axis: that axis is frozen and disappears."""
    data = context.operand(node)
    context.labels.freeze(data.pop(int(argument(node, 1, "dim"))), f"indexed by {place(node)}")
    return data


def padding(context: Context, node: fx.Node) -> Axes:
    """Constant padding adds fixed positions, as the amount is written in the user's code."""
    data, amounts = context.operand(node), argument(node, 1, "pad")
    if any(isinstance(amount, fx.Node) for amount in amounts):
        result: Axes = unknown(context, node)
        return result
    constant = "constant_pad" in str(node.target) or argument(node, 2, "mode", "constant") == "constant"
    reason = f"padding of fixed width by {place(node)}"
    for i in range(len(amounts) // 2):
        before, after = amounts[2 * i : 2 * i + 2]
        axis = data[-1 - i]
        if before == after == 0:
            continue
        if constant and min(before, after) >= 0:
            ends = [context.labels.fixed(amount, reason) for amount in (before, after)]
            data[-1 - i] = torch.cat([ends[0], axis, ends[1]])
        else:
            context.labels.freeze(axis, reason)
            data[-1 - i] = context.labels.fixed(len(axis) + before + after, reason)
    return data


def item(context: Context, node: fx.Node) -> Any:
    """One result of an operation that returns several."""
    index = node.args[1]
    assert isinstance(index, int)
    return context.env[operand(node, 0)][index]
