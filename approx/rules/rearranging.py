"""Operations that give values other places: reshape, permute, select, slice, split. For any number of images."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import fx

from approx.lowering import EXPORTED_BATCH, Lowering, Unsupported, arguments, batch_axis, open_shape, shape, shown
from approx.move import QuantMove
from approx.operations import QuantFlatten, QuantSlice

Places = Callable[[torch.Tensor], torch.Tensor]
"""A tensor with its values in other places."""


def move(low: Lowering, node: fx.Node, x: fx.Node, places: Places) -> None:
    """The exported `node` is x with its values in other places."""
    low.add(node, QuantMove(node.name, low.source(x), places), [x])


def reshape(low: Lowering, node: fx.Node) -> None:
    """Any reshape."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    target = open_shape(node)
    if open_shape(x) == target:
        low.alias(node, x)
    elif batch_axis(x) == 0 and target == [-1, prod(shape(x)[1:])]:
        low.add(node, QuantFlatten(node.name, low.source(x)), [x])
    else:
        move(low, node, x, lambda values: values.reshape(target))


def permuted(low: Lowering, node: fx.Node, x: fx.Node, order: Sequence[int]) -> None:
    """Axes in another order."""
    move(low, node, x, lambda values: values.permute(*order))


def permute(low: Lowering, node: fx.Node) -> None:
    """Any order of the axes."""
    a = arguments(node)
    permuted(low, node, a["self"], a["dims"])


def transpose(low: Lowering, node: fx.Node) -> None:
    """Two axes exchanged."""
    a = arguments(node)
    order = list(range(len(shape(node))))
    first, second = a.get("dim0", -1), a.get("dim1", -2)
    order[first], order[second] = order[second], order[first]
    permuted(low, node, a["self"], order)


def select(low: Lowering, node: fx.Node) -> None:
    """One index of an axis."""
    a = arguments(node)
    _refuse_images(a["self"], a["dim"])
    move(low, node, a["self"], lambda values: values.select(a["dim"], a["index"]))


def slice_(low: Lowering, node: fx.Node) -> None:
    """Every n-th index of an axis."""
    a = arguments(node)
    size, axis = shape(a["self"]), a["dim"] % len(shape(a["self"]))
    taken = slice(*slice(a["start"], a["end"], a["step"]).indices(size[axis]))
    if taken == slice(0, size[axis], 1):
        return low.alias(node, a["self"])
    _refuse_images(a["self"], axis)
    slices = [slice(None)] * axis + [taken]
    if batch_axis(a["self"]) or len(size) < 3:
        return move(low, node, a["self"], lambda values: values[tuple(slices)])
    channels, *spatial = [taken if i == axis else slice(0, size[i], 1) for i in range(1, len(size))]
    low.add(node, QuantSlice(node.name, low.source(a["self"]), (*spatial, channels)), [a["self"]])
    return None


def expand(low: Lowering, node: fx.Node) -> None:
    """A constant stretched to the number of images, or an activation stretched elsewhere."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    target = open_shape(node)
    if not low.is_constant(x):
        return move(low, node, x, lambda values: values.expand(*target))
    low.define(node, low.constant(x, node))
    if prod(shape(x)) != prod(shape(node)) // shape(node)[batch_axis(node)]:  # stretched elsewhere, too
        low.extend(node, QuantMove(node.name, low.operation(node).output, lambda values: values.expand(*target)))
    return None


def repeat(low: Lowering, node: fx.Node) -> None:
    """A constant for every image, or an activation beside itself."""
    a = arguments(node)
    x, sizes = a["self"], shape(node)
    if not low.is_constant(x):
        if shape(x)[batch_axis(x)] != sizes[batch_axis(node)]:
            raise Unsupported(f"it repeats the images of {shown(x)}")
        return move(low, node, x, lambda values: values.repeat(a["repeats"]))
    if prod(shape(x)) != prod(sizes) // sizes[batch_axis(node)]:
        raise Unsupported(f"it repeats a constant of shape {list(shape(x))} otherwise than once for every image")
    return low.define(node, low.constant(x, node))


def split(low: Lowering, node: fx.Node) -> None:
    """Parts of an axis; each is cut out where it is taken (`part`)."""
    a = arguments(node)
    _refuse_images(a["self"], a["dim"])
    low.alias(node, a["self"])


def part(low: Lowering, node: fx.Node) -> None:
    """One of the tensors an operation returned."""
    whole, index = node.args
    assert isinstance(whole, fx.Node) and isinstance(index, int)
    name = str(whole.target).removeprefix("aten.").split(".")[0]
    if name not in ("chunk", "split", "split_with_sizes", "unbind"):
        return low.take(node, whole, index)
    dim = arguments(whole)["dim"]
    if name == "unbind":
        return move(low, node, whole, lambda values: values.select(dim, index))
    sizes = [int(each.shape[dim]) for each in whole.meta["val"]]
    return move(low, node, whole, lambda values: values.narrow(dim, sum(sizes[:index]), sizes[index]))


def roll(low: Lowering, node: fx.Node) -> None:
    """Indices of some axes shifted in a circle."""
    a = arguments(node)
    for dim in a["dims"]:
        _refuse_images(a["self"], dim)
    move(low, node, a["self"], lambda values: values.roll(a["shifts"], a["dims"]))


def images_first(low: Lowering, x: fx.Node) -> tuple[fx.Node, Callable[[fx.Node], fx.Node]]:
    """The value of x [..., F] with an axis of images in front, and what brings a result back into the layout of x.

    `torch.nn.MultiheadAttention` has images second, or behind the tokens of one axis [T * N, F]. Layers that see one
    image an index can tell images from positions (sensitivity sums over positions first).
    """
    axis, source, features = batch_axis(x), next(iter(x.args), None), shape(x)[-1]
    if shape(x)[axis] == EXPORTED_BATCH and axis:
        return _moved(low, low.value(x), lambda v: v.movedim(axis, 0), lambda v: v.movedim(0, axis))
    merged = axis == 0 and len(shape(x)) == 2 and RULES.get(str(x.target).removeprefix("aten.")) is reshape
    if merged and isinstance(source, fx.Node):
        before, positions = prod(shape(source)[: batch_axis(source)]), shape(x)[0] // EXPORTED_BATCH
        apart = low.value(source)
        if before == positions > 1:  # [T * N, F]
            return _moved(
                low,
                apart,
                lambda v: v.reshape(positions, -1, features).transpose(0, 1),
                lambda v: v.transpose(0, 1).flatten(0, 1),
            )
        if before == 1 < positions:  # [N * T, F]
            return _moved(low, apart, lambda v: v.reshape(-1, positions, features), lambda v: v.flatten(0, 1))
    return low.value(x), lambda result: result


def _moved(low: Lowering, value: fx.Node, forth: Places, back: Places) -> tuple[fx.Node, Callable[[fx.Node], fx.Node]]:
    def put(moved: fx.Node, places: Places) -> fx.Node:
        return low.put(QuantMove(f"{moved.meta['label']}_moved", low.quantizer(moved), places), moved)

    return put(value, forth), lambda result: put(result, back)


def _refuse_images(x: fx.Node, axis: int) -> None:
    if batch_axis(x) == axis % len(shape(x)):
        raise Unsupported(f"it takes some of axis {axis} of {shown(x)}, which holds the images")


RULES = {
    **dict.fromkeys(("flatten.using_ints", "view.default", "reshape.default", "_unsafe_view.default"), reshape),
    **dict.fromkeys(("unflatten.int", "unsqueeze.default"), reshape),
    **dict.fromkeys(("squeeze.default", "squeeze.dim", "squeeze.dims"), reshape),
    "permute.default": permute,
    "transpose.int": transpose,
    "t.default": transpose,
    "mT.default": transpose,
    "select.int": select,
    "slice.Tensor": slice_,
    "expand.default": expand,
    "repeat.default": repeat,
    **dict.fromkeys(("chunk.default", "split.Tensor", "split.sizes", "split_with_sizes.default", "unbind.int"), split),
    "<built-in function getitem>": part,
    "roll.default": roll,
}
