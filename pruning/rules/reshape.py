"""Labels through a change of shape: view, reshape, flatten, squeeze, unsqueeze.

The two shapes are cut into the shortest blocks with equal numbers of elements; a block either merges axes,
splits one, or copies one. Merging repeats every label once per combination of the other axes, in memory
order, which makes NCHW and NHWC flattening the same rule.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pruning.labels import Labels, tracked


def reshaped(labels: Labels, axes: list[Tensor], shape: tuple[int, ...], place: str) -> list[Tensor]:
    """Labels of `axes` after a reshape to `shape`.

    Args:
        labels: the network's atoms.
        axes: labels per input axis.
        shape: the result's shape, with the same number of elements.
        place: the operation, for the reasons recorded.
    """
    for axis in axes:
        if len(axis) == 1:
            labels.freeze(axis, f"size-1 axis reshaped by {place}")
    wide = [axis for axis in axes if len(axis) != 1]
    result: list[Tensor] = []
    pending = list(shape)
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
        result.extend(_block(labels, sources, sizes, place))
    return result


def _block(labels: Labels, sources: list[Tensor], sizes: list[int], place: str) -> list[Tensor]:
    """Labels of one block: `sources` (merged in memory order), then split into `sizes`."""
    merged = _merge(labels, sources, place)
    if len(sizes) == 1:
        return [merged]
    reason = f"split by {place}"
    if not tracked(merged):
        return [labels.fixed(size, "part of an axis without channels") for size in sizes]
    grid = merged.reshape(sizes)
    for dim, size in enumerate(sizes):
        first = grid.movedim(dim, 0).reshape(size, -1)[:, :1]
        if bool((grid.movedim(dim, 0).reshape(size, -1) == first).all()):
            others = [labels.fixed(other, "part of an axis without channels") for other in sizes]
            others[dim] = first[:, 0]
            return others
    labels.freeze(merged, reason)
    return [labels.fixed(size, reason) for size in sizes]


def _merge(labels: Labels, sources: list[Tensor], place: str) -> Tensor:
    """One axis from several: the labels of the only one that has channels, repeated over the others."""
    if len(sources) == 1:
        return sources[0]
    with_channels = [i for i, axis in enumerate(sources) if tracked(axis)]
    shape = [len(axis) for axis in sources]
    if len(with_channels) != 1:
        reason = f"two channel axes merged by {place}" if with_channels else "merged axes without channels"
        for i in with_channels:
            labels.freeze(sources[i], reason)
        return labels.fixed(math.prod(shape), reason)
    view = [1] * len(shape)
    view[with_channels[0]] = -1
    return torch.broadcast_to(sources[with_channels[0]].reshape(view), shape).reshape(-1).clone()
