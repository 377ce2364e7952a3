"""Pooling: the maximum or the mean over windows."""

from torch import fx

from approx.lowering import Lowering, Unsupported, arguments, pair, shape
from approx.operations import QuantAvgPool, QuantFlatten, QuantMaxPool, Window
from approx.quantizer import Quantizer


def max_pool2d(low: Lowering, node: fx.Node) -> None:
    """Maximum over a window."""
    a = arguments(node)
    if pair(a["dilation"]) != (1, 1) or a["ceil_mode"]:
        raise Unsupported("dilation or ceil_mode is set")
    kernel = pair(a["kernel_size"])
    height, width = pair(a["padding"])
    window = Window(kernel, pair(a["stride"] or kernel), (height, width, height, width))
    low.add(node, QuantMaxPool(node.name, low.source(a["self"]), window), [a["self"]])


def avg_pool2d(low: Lowering, node: fx.Node) -> None:
    """Mean over a window."""
    a = arguments(node)
    if a["ceil_mode"] or a["divisor_override"] is not None or (any(pair(a["padding"])) and not a["count_include_pad"]):
        raise Unsupported("ceil_mode, divisor_override or count_include_pad=False is set")
    kernel = pair(a["kernel_size"])
    height, width = pair(a["padding"])
    window = Window(kernel, pair(a["stride"] or kernel), (height, width, height, width))
    _average(low, node, a["self"], window)


def _average(low: Lowering, node: fx.Node, x: fx.Node, window: Window) -> None:
    low.add(node, QuantAvgPool(node.name, low.source(x), Quantizer(), window), [x])


def adaptive_avg_pool2d(low: Lowering, node: fx.Node) -> None:
    """Mean over equal windows."""
    a = arguments(node)
    size, target = shape(a["self"])[2:], pair(a["output_size"])
    if any(s % t for s, t in zip(size, target, strict=True)):
        raise Unsupported(f"{size} does not divide into {target} equal windows")
    kernel = size[0] // target[0], size[1] // target[1]
    _average(low, node, a["self"], Window(kernel, kernel))


def mean(low: Lowering, node: fx.Node) -> None:
    """Mean over height and width."""
    a = arguments(node)
    dims = sorted(d % len(shape(a["self"])) for d in a["dim"] or ())
    if len(shape(a["self"])) != 4 or dims != [2, 3]:
        raise Unsupported(f"it averages axes {dims} of {shape(a['self'])}, only height and width of [N, C, H, W] are")
    height, width = shape(a["self"])[2:]
    _average(low, node, a["self"], Window((height, width), (height, width)))
    if not a["keepdim"]:
        low.extend(node, QuantFlatten(f"{node.name}_flat", low.operation(node).output))


RULES = {
    "max_pool2d.default": max_pool2d,
    "avg_pool2d.default": avg_pool2d,
    "adaptive_avg_pool2d.default": adaptive_avg_pool2d,
    "mean.dim": mean,
}
