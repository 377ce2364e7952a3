"""Operations that only move values, or do nothing to them."""

import math

from torch import fx

from approx.lowering import Lowering, Unsupported, arguments, shape
from approx.operations import QuantFlatten, QuantPad, QuantSlice


def flatten(low: Lowering, node: fx.Node) -> None:
    """Any reshape that keeps or flattens [N, C, H, W]."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    if shape(x) == shape(node):
        low.alias(node, x)
    elif shape(node) == (shape(x)[0], math.prod(shape(x)[1:])):
        low.add(node, QuantFlatten(node.name, low.source(x)), [x])
    else:
        raise Unsupported(f"it reshapes {shape(x)} to {shape(node)}, only flattening to [N, F] is")


def identity(low: Lowering, node: fx.Node) -> None:
    """Nothing happens to the values."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    low.alias(node, x)


def pad(low: Lowering, node: fx.Node) -> None:
    """Zero padding of any axis."""
    a = arguments(node)
    if a.get("mode", "constant") != "constant" or a.get("value") not in (None, 0, 0.0):
        raise Unsupported(f"mode {a.get('mode')!r} with value {a.get('value')!r}, only constant zero is")
    amounts = [(a["pad"][i], a["pad"][i + 1]) for i in range(0, len(a["pad"]), 2)]
    if len(shape(a["self"])) != 4 or len(amounts) > 3 or min(min(p) for p in amounts) < 0:
        raise Unsupported(f"padding {a['pad']} of {shape(a['self'])}, only non-negative padding of [N, C, H, W] is")
    amounts += [(0, 0)] * (3 - len(amounts))
    width, height, channels = amounts
    low.add(node, QuantPad(node.name, low.source(a["self"]), (height, width, channels)), [a["self"]])


def slice_(low: Lowering, node: fx.Node) -> None:
    """Every n-th row, column or channel."""
    a = arguments(node)
    size, axis = shape(a["self"]), a["dim"] % len(shape(a["self"]))
    taken = slice(*slice(a["start"], a["end"], a["step"]).indices(size[axis]))
    if taken == slice(0, size[axis], 1):
        return low.alias(node, a["self"])
    if len(size) != 4 or axis == 0:
        raise Unsupported(f"it slices axis {axis} of {size}, only channels, height and width of [N, C, H, W] are")
    slices = [slice(0, s, 1) for s in size[1:]]
    slices[axis - 1] = taken
    channels, height, width = slices
    low.add(node, QuantSlice(node.name, low.source(a["self"]), (height, width, channels)), [a["self"]])
    return None


RULES = {
    "flatten.using_ints": flatten,
    "view.default": flatten,
    "reshape.default": flatten,
    "dropout.default": identity,
    "dropout_.default": identity,
    "feature_dropout.default": identity,
    "clone.default": identity,
    "contiguous.default": identity,
    "alias.default": identity,
    "detach.default": identity,
    "detach_.default": identity,
    "pad.default": pad,
    "constant_pad_nd.default": pad,
    "slice.Tensor": slice_,
}
