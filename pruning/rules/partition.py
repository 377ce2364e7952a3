"""Operations that take an axis apart, put a new one in, or change the order along one.

Splitting channels has two readings. Together: the pieces are equal and slot j of every piece goes at once, so
`chunk(n)` still finds equal pieces. Apart: each piece loses what it likes, right where the user's code takes
the sizes from its layers.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, fx

from pruning.labels import tracked
from pruning.rules.context import Axes, Context, argument, operand, place, shape_of


def splitting(context: Context, node: fx.Node) -> tuple[Axes, ...]:
    """`split` and `chunk`: the pieces of one axis, tied slot by slot or not at all; the other axes pass."""
    data = context.operand(node)
    dim = int(argument(node, 2, "dim", 0)) % len(data)
    sizes = [shape_of(piece)[dim] for piece in node.meta["val"]]
    pieces = data[dim].split(sizes)
    readings = ("together", "apart") if len(set(sizes)) == 1 else ("apart",)
    if len(pieces) > 1 and tracked(data[dim]) and readings[context.read(node, data[dim], len(readings))] == "together":
        for piece in pieces[1:]:
            context.labels.tie(pieces[0], piece)
    return tuple([*data[:dim], piece, *data[dim + 1 :]] for piece in pieces)


def halves(context: Context, node: fx.Node) -> Axes:
    """Gated linear unit: the second half gates the first, so slot j of both goes at once."""
    data = context.operand(node)
    dim = int(argument(node, 1, "dim", -1)) % len(data)
    first, second = data[dim].chunk(2)
    context.labels.tie(first, second)
    return [*data[:dim], first, *data[dim + 1 :]]


def unbinding(context: Context, node: fx.Node) -> tuple[Axes, ...]:
    """One result per index of an axis, which therefore must keep its size."""
    data = context.operand(node)
    context.labels.freeze(data.pop(int(argument(node, 1, "dim", 0))), f"indexed by {place(node)}")
    return tuple(list(data) for _ in node.meta["val"])


def stacking(context: Context, node: fx.Node) -> Axes:
    """A new axis of fixed size; all others are tied."""
    listed = node.args[0]
    assert isinstance(listed, tuple | list)
    parts = [context.axes(part) for part in listed if isinstance(part, fx.Node)]
    result = [reduce(context.labels.merged, axes) for axes in zip(*parts, strict=True)]
    dim = int(argument(node, 1, "dim", 0)) % (len(result) + 1)
    return [*result[:dim], context.labels.fixed(len(parts), f"stacked by {place(node)}"), *result[dim:]]


def reversal(context: Context, node: fx.Node) -> Axes:
    """Flipping an axis flips its labels: what is kept keeps its order."""
    data = context.operand(node)
    for dim in argument(node, 1, "dims"):
        data[dim] = data[dim].flip(0)
    return data


def rotation(context: Context, node: fx.Node) -> Axes:
    """A roll by a fixed distance needs the whole axis; without `dims` it rolls all of them as one."""
    data = context.operand(node)
    for dim in argument(node, 2, "dims", ()) or range(len(data)):
        context.labels.freeze(data[dim], f"rolled by {place(node)}")
        data[dim] = context.labels.fixed(len(data[dim]), f"rolled by {place(node)}")
    return data


def cumulation(context: Context, node: fx.Node) -> Axes:
    """A running sum: what is removed counts as zero before it, and its own total is not looked at."""
    data, dim = context.operand(node), int(argument(node, 1, "dim"))
    context.end(node, 0, dim)
    data[dim] = context.settled(data[dim], f"summed up by {place(node)}")
    return data


def repetition(context: Context, node: fx.Node) -> Axes:
    """`repeat` and `tile` lay whole axes end to end, so their labels too."""
    data, counts = context.operand(node), list(argument(node, 1, "repeats"))
    shape = shape_of(node.meta["val"])
    counts = [1] * (len(shape) - len(counts)) + counts
    ones = context.fixed((1,) * (len(shape) - len(data)), "repeated axis")
    return [axis.repeat(size // len(axis)) for axis, size in zip([*ones, *data], shape, strict=True)]


def repetition_within(context: Context, node: fx.Node) -> Axes:
    """`repeat_interleave` by one number: every label as often, one after the other."""
    data, dim = context.operand(node), argument(node, 2, "dim")
    if dim is None or not isinstance(node.args[1], int):
        context.freeze(node, f"repeated by {place(node)}")
        return context.fixed(shape_of(node.meta["val"]), f"repeated by {place(node)}")
    data[dim] = data[dim].repeat_interleave(node.args[1])
    return data


def pixel_shuffle(context: Context, node: fx.Node) -> Axes:
    """[..., C * r * r, H, W] -> [..., C, H * r, W * r]: the r * r channels of a result channel go at once."""
    data, shape = context.operand(node), shape_of(node.meta["val"])
    grid = data[-3].reshape(shape[-3], -1)
    for column in range(1, grid.shape[1]):
        context.labels.tie(grid[:, 0], grid[:, column])
    return [*data[:-3], grid[:, 0], *_spatial(context, node, data[-2:])]


def pixel_unshuffle(context: Context, node: fx.Node) -> Axes:
    """[..., C, H * r, W * r] -> [..., C * r * r, H, W]: every channel becomes r * r, one after the other."""
    data = context.operand(node)
    factor = int(argument(node, 1, "downscale_factor"))
    return [*data[:-3], data[-3].repeat_interleave(factor**2), *_spatial(context, node, data[-2:])]


def channel_shuffle(context: Context, node: fx.Node) -> Axes:
    """[N, g * C, ...] read column by column: slot j of every one of the g groups goes at once."""
    data, groups = context.operand(node), int(argument(node, 1, "groups"))
    slots = data[1].reshape(groups, -1)
    for row in range(1, groups):
        context.labels.tie(slots[0], slots[row])
    return [data[0], slots.T.reshape(-1), *data[2:]]


def indexing(context: Context, node: fx.Node) -> Axes:
    """Rows picked by one tensor of indices: that axis must keep its size; the others pass."""
    data, listed = context.operand(node), argument(node, 1, "indices")
    chosen = [(dim, entry) for dim, entry in enumerate(listed) if entry is not None]
    shape, reason = shape_of(node.meta["val"]), f"indexed by {place(node)}"
    if len(chosen) != 1 or not chosen[0][1].meta["val"].dtype.is_signed or chosen[0][1].meta["val"].dtype == torch.bool:
        context.freeze(node, reason)
        return context.fixed(shape, reason)
    dim, index = chosen[0]
    context.labels.freeze(data[dim], reason)
    for axis in context.axes(index):
        context.labels.freeze(axis, reason)
    return [*data[:dim], *context.fixed(shape_of(index.meta["val"]), reason), *data[dim + 1 :]]


def lookup(context: Context, node: fx.Node) -> Axes:
    """Embedding: the vocabulary must stay whole; the features of a row start here as channels."""
    table, index = context.operand(node, 0), operand(node, 1)
    context.labels.freeze(table[0], f"vocabulary of {place(node)}")
    for axis in context.axes(index):
        context.labels.freeze(axis, f"indices of {place(node)}")
    return [*context.fixed(shape_of(index.meta["val"]), "network input"), table[1]]


def _spatial(context: Context, node: fx.Node, axes: list[Tensor]) -> Axes:
    for axis in axes:
        context.labels.freeze(axis, f"window of {place(node)}")
    return context.fixed(shape_of(node.meta["val"])[-2:], "spatial axis")
