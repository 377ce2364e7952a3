"""Pooling: the maximum or the mean over windows of one to three spatial axes."""

from collections.abc import Callable
from functools import partial
from math import prod

from torch import fx

from approx.lowering import Lowering, Unsupported, arguments, batch_axis, each_axis, open_shape, shape, shown
from approx.move import QuantMove
from approx.operations import QuantAvgPool, QuantFlatten, QuantMaxPool
from approx.quantizer import Quantizer
from approx.window import Window

AXES = (1, 2, 3)


def max_pool(axes: int, low: Lowering, node: fx.Node) -> None:
    """Maximum over a window."""
    a = arguments(node)
    if set(each_axis(a["dilation"], axes)) != {1} or a["ceil_mode"]:
        raise Unsupported("dilation or ceil_mode is set")
    low.add(node, QuantMaxPool(node.name, low.source(a["self"]), _window(axes, node)), [a["self"]])


def avg_pool(axes: int, low: Lowering, node: fx.Node) -> None:
    """Mean over a window."""
    a = arguments(node)
    padded_apart = any(each_axis(a["padding"], axes)) and not a["count_include_pad"]
    if a["ceil_mode"] or a.get("divisor_override") is not None or padded_apart:
        raise Unsupported("ceil_mode, divisor_override or count_include_pad=False is set")
    _average(low, node, a["self"], _window(axes, node))


def adaptive_avg_pool(axes: int, low: Lowering, node: fx.Node) -> None:
    """Mean over equal windows."""
    a = arguments(node)
    size, target = _spatial(axes, a["self"]), each_axis(a["output_size"], axes)
    if any(s % t for s, t in zip(size, target, strict=True)):
        raise Unsupported(f"{size} does not divide into {target} equal windows")
    _average(low, node, a["self"], _tiles(tuple(s // t for s, t in zip(size, target, strict=True))))


def mean(low: Lowering, node: fx.Node) -> None:
    """Mean over any axes but the images'."""
    a = arguments(node)
    x, size = a["self"], shape(a["self"])
    axes = sorted(d % len(size) for d in a["dim"] or ())
    if batch_axis(x) != 0 or 0 in axes or not axes:
        raise Unsupported(f"it averages axes {axes} of {shown(x)}, expected some behind the images")
    if len(size) - 2 not in AXES or axes != list(range(2, len(size))):
        return _mean_between(low, node, x, axes)
    _average(low, node, x, _tiles(size[2:]))
    if not a["keepdim"]:
        low.extend(node, QuantFlatten(f"{node.name}_flat", low.operation(node).output))
    return None


def _mean_between(low: Lowering, node: fx.Node, x: fx.Node, axes: list[int]) -> None:
    """Mean over some axes [N, ..., T, ..., F]: the pooling of [N, F, T, 1]."""
    size, target = shape(x), open_shape(node)
    order = [axis for axis in range(len(size)) if axis not in axes] + axes
    count = prod(size[axis] for axis in axes)
    kept = prod(size[1:]) // count
    turned = QuantMove(f"{node.name}_in", low.source(x), lambda v: v.permute(order).reshape(-1, kept, count, 1))
    pooled = low.put(
        QuantAvgPool(node.name, low.source(x), Quantizer(), _tiles((count, 1))), low.put(turned, low.value(x))
    )
    low.define(node, low.put(QuantMove(f"{node.name}_out", low.quantizer(pooled), lambda v: v.reshape(target)), pooled))


def _window(axes: int, node: fx.Node) -> Window:
    a = arguments(node)
    _spatial(axes, a["self"])
    kernel = each_axis(a["kernel_size"], axes)
    return Window(kernel, each_axis(a["stride"] or kernel, axes), each_axis(a["padding"], axes) * 2)


def _tiles(kernel: tuple[int, ...]) -> Window:
    return Window(kernel, kernel, (0,) * 2 * len(kernel))


def _spatial(axes: int, x: fx.Node) -> tuple[int, ...]:
    if len(shape(x)) != axes + 2:
        raise Unsupported(f"its input has shape {shown(x)}, expected [N, C] and {axes} more axes")
    return shape(x)[2:]


def _average(low: Lowering, node: fx.Node, x: fx.Node, window: Window) -> None:
    low.add(node, QuantAvgPool(node.name, low.source(x), Quantizer(), window), [x])


RULES: dict[str, Callable[[Lowering, fx.Node], None]] = {
    f"{name}{axes}d.default": partial(rule, axes)
    for name, rule in (("max_pool", max_pool), ("avg_pool", avg_pool), ("adaptive_avg_pool", adaptive_avg_pool))
    for axes in AXES
} | {"mean.dim": mean}
