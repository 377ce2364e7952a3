"""Labels through a change of shape: view, reshape, flatten, squeeze, unsqueeze.

The two shapes are cut into the shortest blocks with equal numbers of elements; a block either merges axes,
splits one, or copies one. Merging repeats every label once per combination of the other axes, in memory
order, which makes NCHW and NHWC flattening the same rule. Splitting an axis of channels leaves them on one
of the parts, with the others whole: slot j of every part goes together, or every part goes as a whole.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx

from pruning.labels import Labels, tracked
from pruning.rules.context import Axes, Context, argument, place, shape_of


def reshape(context: Context, node: fx.Node) -> Axes:
    """Merging [C, H, W] repeats each channel H*W times, in the order of the axes, so NHWC works too."""
    axes, labels = context.operand(node), context.labels
    for axis in axes:
        if len(axis) == 1:
            labels.freeze(axis, f"size-1 axis reshaped by {place(node)}")
    wide = [axis for axis in axes if len(axis) != 1]
    result: Axes = []
    pending = list(shape_of(node.meta["val"]))
    while pending:
        if pending[0] == 1:
            pending.pop(0)
            result.append(labels.fixed(1, "size-1 axis"))
            continue
        sources, sizes = [wide.pop(0)], [pending.pop(0)]
        while (have := math.prod(map(len, sources))) != (want := math.prod(sizes)):
            if have < want:
                sources.append(wide.pop(0))
            else:
                sizes.append(pending.pop(0))
        merged = _merge(labels, sources, place(node))
        result.extend([merged] if len(sizes) == 1 else _split(context, node, merged, sizes, len(result)))
    return result


def _split(context: Context, node: fx.Node, axis: Tensor, sizes: list[int], first: int) -> Axes:
    """Labels of the parts of one axis, which are axes `first`, `first` + 1, ... of the result."""
    labels = context.labels
    result = [labels.fixed(size, "part of an axis without channels") for size in sizes]
    if not tracked(axis):
        return result
    views = [axis.reshape(sizes).movedim(dim, 0).reshape(size, -1) for dim, size in enumerate(sizes)]
    alike = [dim for dim, view in enumerate(views) if bool((view == view[:, :1]).all())]
    if alike:
        result[alike[0]] = views[alike[0]][:, 0]
        return result
    order = [dim for dim in _preferred(node, sizes, first) if sizes[dim] > 1]
    chosen = order[context.read(node, axis, len(order))]
    for column in range(1, views[chosen].shape[1]):
        labels.tie(views[chosen][:, 0], views[chosen][:, column])
    result[chosen] = views[chosen][:, 0]
    return result


def _preferred(node: fx.Node, sizes: list[int], first: int) -> list[int]:
    """The parts, the likeliest to keep the channels first: the one written as -1, then the largest."""
    written = argument(node, 1, "size")
    whole = isinstance(written, list | tuple) and len(written) == len(node.meta["val"].shape)
    inferred = [whole and written[first + dim] == -1 for dim in range(len(sizes))]
    return sorted(range(len(sizes)), key=lambda dim: (not inferred[dim], -sizes[dim]))


def _merge(labels: Labels, sources: list[Tensor], place: str) -> Tensor:
    """One axis from several: the labels of the only one that has channels, repeated over the others."""
    if len(sources) == 1:
        return sources[0]
    with_channels = [i for i, axis in enumerate(sources) if tracked(axis)]
    shape = [len(axis) for axis in sources]
    if len(with_channels) != 1:
        what = "two channel axes" if with_channels else "axes without channels"
        reason = f"{what} merged by {place}"
        for i in with_channels:
            labels.freeze(sources[i], reason)
        return labels.fixed(math.prod(shape), reason)
    view = [1] * len(shape)
    view[with_channels[0]] = -1
    return torch.broadcast_to(sources[with_channels[0]].reshape(view), shape).reshape(-1).clone()
