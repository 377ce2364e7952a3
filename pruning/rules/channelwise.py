"""Operations that treat every channel alike: element-wise, pooling, reducing."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from pruning.rules.context import UNIFORM, Axes, Context, argument, place, shape_of
from pruning.rules.contraction import stretched


def broadcast(context: Context, node: fx.Node) -> Axes:
    """Element by element: aligned axes are tied; a size-1 axis stretched over another stays as it is."""
    return stretched(context, node, context.operands(node), shape_of(node.meta["val"]))


def expansion(context: Context, node: fx.Node) -> Axes:
    """A size-1 axis repeated without copying: alike at every position, so it fits whatever it is combined with."""
    data, shape = context.operand(node), shape_of(node.meta["val"])
    missing = len(shape) - len(data)
    result = context.fixed(shape, UNIFORM)
    for position, axis in enumerate(data, start=missing):
        if len(axis) == shape[position]:
            result[position] = axis
        else:
            context.labels.freeze(axis, f"stretched by {place(node)}")
    return result


def uniform(context: Context, node: fx.Node) -> Axes:
    """A tensor of one value, which passes for any size the user's code gives it."""
    return context.fixed(shape_of(node.meta["val"]), UNIFORM)


def prelu(context: Context, node: fx.Node) -> Axes:
    """One slope for all channels, or one per channel tied to axis 1."""
    data, slope = context.operand(node, 0), context.operand(node, 1)
    if len(slope[0]) == 1:
        context.labels.freeze(slope[0], "one slope for all channels")
    else:
        context.labels.tie(data[1], slope[0])
    return data


def window(context: Context, node: fx.Node) -> Any:
    """Pooling and resampling over the last axes, which must not be channels; the others pass."""
    data, name, value = context.operand(node), str(node.target), node.meta["val"]
    rank = next(rank for rank in (1, 2, 3) if f"{rank}d" in name)
    for axis in data[-rank:]:
        context.labels.freeze(axis, f"window of {place(node)}")
    first = value if isinstance(value, Tensor) else value[0]
    axes = [*data[:-rank], *context.fixed(shape_of(first)[-rank:], "spatial axis")]
    return axes if isinstance(value, Tensor) else tuple(axes for _ in value)


def reduction(context: Context, node: fx.Node) -> Axes:
    """Reduced axes vanish or become size 1. A sum or norm may end channels; a mean depends on their number."""
    data = context.operand(node)
    norm = "vector_norm" in str(node.target)
    chosen = argument(node, 2 if norm else 1, "dim")
    ends = str(node.target).startswith("aten.sum.") or (norm and argument(node, 1, "ord", 2) > 0)
    chosen = [chosen] if isinstance(chosen, int) else (chosen or list(range(len(data))))
    reduced = {dim % len(data) for dim in chosen}
    for dim in reduced:
        if ends:
            context.end(node, 0, dim)
        else:
            context.labels.freeze(data[dim], f"reduced by {place(node)}")
    if len(node.meta["val"].shape) == len(data):
        one = context.labels.fixed(1, "reduced axis")
        return [one if i in reduced else axis for i, axis in enumerate(data)]
    return [axis for i, axis in enumerate(data) if i not in reduced]


def extreme(context: Context, node: fx.Node) -> Any:
    """The larger or smaller of two tensors, or the extreme along an axis, which must keep its size, and its place."""
    if "other" in str(node.target):
        return broadcast(context, node)
    if isinstance(node.meta["val"], Tensor):
        return reduction(context, node)
    data, dim, reason = context.operand(node), int(argument(node, 1, "dim")), f"reduced by {place(node)}"
    context.labels.freeze(data[dim], reason)
    data[dim] = context.labels.fixed(1, reason)
    if not argument(node, 2, "keepdim", False):
        del data[dim]
    return tuple(list(data) for _ in node.meta["val"])


def along(context: Context, node: fx.Node) -> Axes:
    """Softmax and its kind mix the positions of one axis, which therefore must keep its size."""
    data = context.operand(node)
    context.labels.freeze(data[int(argument(node, 1, "dim"))], f"mixed by {place(node)}")
    return data
