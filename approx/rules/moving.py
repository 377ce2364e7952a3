"""Operations that pad, or do nothing to the values."""

import torch
from torch import fx

from approx.lowering import Lowering, Unsupported, arguments, shape, shown
from approx.operations import QuantPad


def identity(low: Lowering, node: fx.Node) -> None:
    """Nothing happens to the values."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    low.alias(node, x)


def convert(low: Lowering, node: fx.Node) -> None:
    """To single precision, where everything is already."""
    if node.meta["val"].dtype != torch.float32:
        raise Unsupported(f"it converts to {node.meta['val'].dtype}, expected torch.float32")
    identity(low, node)


def pad(low: Lowering, node: fx.Node) -> None:
    """Zero padding of any axis."""
    a = arguments(node)
    if a.get("mode", "constant") != "constant" or a.get("value") not in (None, 0, 0.0):
        raise Unsupported(f"mode {a.get('mode')!r} with value {a.get('value')!r}, only constant zero is")
    axes, amounts = len(shape(a["self"])), [(a["pad"][i], a["pad"][i + 1]) for i in range(0, len(a["pad"]), 2)]
    if axes < 3 or len(amounts) > axes - 1 or min(min(p) for p in amounts) < 0:
        raise Unsupported(f"padding {a['pad']} of {shown(a['self'])}, only non-negative padding of [N, C, ...] is")
    amounts += [(0, 0)] * (axes - 1 - len(amounts))
    *spatial, channels = amounts
    low.add(node, QuantPad(node.name, low.source(a["self"]), (*reversed(spatial), channels)), [a["self"]])


RULES = {
    "dropout.default": identity,
    "dropout_.default": identity,
    "feature_dropout.default": identity,
    "clone.default": identity,
    "contiguous.default": identity,
    "alias.default": identity,
    "detach.default": identity,
    "detach_.default": identity,
    "to.dtype": convert,
    "to.dtype_layout": convert,
    "type_as.default": convert,
    "pad.default": pad,
    "constant_pad_nd.default": pad,
}
