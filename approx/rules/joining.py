"""Operations that join two or more activations."""

from torch import fx

from approx.lowering import Lowering, Unsupported, arguments, shape
from approx.operations import QuantAdd, QuantConcat
from approx.quantizer import Quantizer


def add(low: Lowering, node: fx.Node) -> None:
    """Residual addition of equal shapes."""
    a = arguments(node)
    if a["alpha"] != 1:
        raise Unsupported(f"alpha is {a['alpha']}, expected 1")
    sources = low.source(a["self"]), low.source(a["other"])
    if shape(a["self"]) != shape(a["other"]):
        raise Unsupported(f"shapes {shape(a['self'])} and {shape(a['other'])} differ")
    low.add(node, QuantAdd(node.name, sources, Quantizer()), [a["self"], a["other"]])


def cat(low: Lowering, node: fx.Node) -> None:
    """Join on the channel axis."""
    a = arguments(node)
    parts = a["tensors"]
    if len(shape(node)) != 4 or a["dim"] % 4 != 1:
        raise Unsupported(f"it joins axis {a['dim']} of {shape(node)}, only channels of [N, C, H, W] are")
    low.add(node, QuantConcat(node.name, [low.source(p) for p in parts], Quantizer()), parts)


RULES = {
    "add.Tensor": add,
    "add_.Tensor": add,
    "cat.default": cat,
}
