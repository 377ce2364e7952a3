"""One rule per ATen operation: how it becomes a quantised operation. The table at the end is what is supported."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from approx.conv_geometry import ConvGeometry
from approx.convolution import QuantConv2d
from approx.layer import QuantLayer
from approx.linear import QuantLinear
from approx.naming import layer_label, unique
from approx.operation import Operation
from approx.operations import (
    QuantAdd,
    QuantAvgPool,
    QuantClamp,
    QuantConcat,
    QuantFlatten,
    QuantMaxPool,
    QuantPad,
    QuantSlice,
    Window,
)
from approx.quantizer import Quantizer

Pair = tuple[int, int]
PREFIX = "op_"  # keeps names of the user's layers apart from attributes of torch's graph module


class Unsupported(Exception):
    """This use of an operation has no quantised form; the message says what about it."""


class Lowering:
    """The graph under construction.

    Attributes:
        graph: the new graph.
        operations: its operations by label.
    """

    def __init__(self, tensors: Mapping[str, tuple[str, torch.Tensor]]) -> None:
        self.graph = fx.Graph()
        self.operations: dict[str, Operation] = {}
        self._tensors = tensors
        self._values: dict[fx.Node, fx.Node] = {}
        self._shared: set[fx.Node] = set()

    def value(self, node: fx.Node) -> fx.Node:
        """The new graph's node of an exported node."""
        if node not in self._values:
            raise Unsupported(f"its input {node.name} is not an activation")
        return self._values[node]

    def operation(self, node: fx.Node) -> Operation:
        """The operation that writes an exported node's value."""
        return self.operations[self.value(node).meta["label"]]

    def source(self, node: Any) -> Quantizer:
        """The quantizer of an exported node's value."""
        if not isinstance(node, fx.Node):
            raise Unsupported(f"operand {node!r} is a constant")
        return self.operation(node).output

    def add(self, node: fx.Node, operation: Operation, inputs: Sequence[fx.Node]) -> None:
        """Append `operation`, which computes the exported `node` from exported `inputs`."""
        self._append(node, operation, tuple(self.value(i) for i in inputs))

    def begin(self, node: fx.Node, operation: Operation) -> None:
        """Start with the operation that takes the network's input, the exported `node`."""
        self._append(node, operation, (self.graph.placeholder("images"),))

    def extend(self, node: fx.Node, operation: Operation) -> None:
        """Append `operation` behind what computes the exported `node` so far."""
        self._append(node, operation, (self.value(node),))

    def _append(self, node: fx.Node, operation: Operation, inputs: tuple[fx.Node, ...]) -> None:
        label = operation.label = unique(operation.label, self.operations)
        self.operations[label] = operation
        self._values[node] = self.graph.call_module(f"{PREFIX}{label}", inputs)
        self._values[node].meta["label"] = label

    def alias(self, node: fx.Node, of: fx.Node) -> None:
        """The exported `node` is the same value as `of`."""
        self._values[node] = self.value(of)
        if not self.sole_reader(of):
            self._shared.add(node)

    def sole_reader(self, node: fx.Node) -> bool:
        """Whether only one operation reads the value of an exported node."""
        return len(node.users) == 1 and node not in self._shared

    def tensor(self, node: Any, what: str) -> tuple[str, torch.Tensor]:
        """Name and value of a parameter or constant."""
        if not isinstance(node, fx.Node) or node.name not in self._tensors:
            raise Unsupported(f"its {what} is computed, expected a parameter")
        name, value = self._tensors[node.name]
        return name, value.detach().float()


def shape(node: fx.Node) -> tuple[int, ...]:
    """Static shape of an exported node's value, batch included."""
    return tuple(int(s) for s in node.meta["val"].shape)


def arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    bound = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    bound.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return bound | dict(node.kwargs)


def _pair(values: Any) -> Pair:
    values = [values] if isinstance(values, int) else list(values)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _layer_parameters(low: Lowering, a: Mapping[str, Any]) -> tuple[str, tuple[torch.Tensor, torch.Tensor]]:
    name, weight = low.tensor(a["weight"], "weight")
    bias = torch.zeros(len(weight)) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]
    return layer_label(name), (weight, bias)


def conv2d(low: Lowering, node: fx.Node) -> None:
    """Convolution, any stride, padding, dilation and groups."""
    a = arguments(node)
    label, parameters = _layer_parameters(low, a)
    stride, dilation = _pair(a["stride"]), _pair(a["dilation"])
    if isinstance(a["padding"], str):
        totals = (
            [0, 0]
            if a["padding"] == "valid"
            else [d * (k - 1) for d, k in zip(dilation, parameters[0].shape[2:], strict=True)]
        )
        before = [t // 2 for t in totals]
        padding = (before[0], before[1], totals[0] - before[0], totals[1] - before[1])
    else:
        height, width = _pair(a["padding"])
        padding = (height, width, height, width)
    geometry = ConvGeometry(stride, padding, dilation, a["groups"])
    low.add(node, QuantConv2d(label, low.source(a["input"]), Quantizer(), parameters, geometry), [a["input"]])


def linear(low: Lowering, node: fx.Node) -> None:
    """Matrix product of [N, F]."""
    a = arguments(node)
    if len(shape(a["input"])) != 2:
        raise Unsupported(f"its input has shape {shape(a['input'])}, expected [N, F]")
    label, parameters = _layer_parameters(low, a)
    low.add(node, QuantLinear(label, low.source(a["input"]), Quantizer(), parameters), [a["input"]])


def batch_norm(low: Lowering, node: fx.Node) -> None:
    """Folded into the layer before it."""
    a = arguments(node)
    layer = low.operation(a["input"])
    if not isinstance(layer, QuantLayer) or not low.sole_reader(a["input"]) or layer.cap is not None:
        raise Unsupported(
            "it does not directly follow a convolution or linear layer of its own, so it cannot be folded"
        )
    mean, variance = (low.tensor(a[k], k)[1] for k in ("running_mean", "running_var"))
    gamma = torch.ones_like(mean) if a["weight"] is None else low.tensor(a["weight"], "weight")[1]
    beta = torch.zeros_like(mean) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]
    factor = gamma.double() / torch.sqrt(variance.double() + a["eps"])
    with torch.no_grad():
        shape_ = (-1, *[1] * (layer.weight.dim() - 1))
        layer.weight.copy_(layer.weight.double() * factor.view(shape_))
        layer.bias.copy_((layer.bias.double() - mean.double()) * factor + beta.double())
    low.alias(node, a["input"])


def _bounded(low: Lowering, node: fx.Node, x: fx.Node, cap: float) -> None:
    """Fuses a ReLU into its producer where nothing else reads the producer, else bounds the codes."""
    producer = low.operation(x)
    fusable = isinstance(producer, QuantLayer | QuantAdd | QuantAvgPool) and producer.cap is None
    if fusable and low.sole_reader(x):
        producer.cap = cap
        low.alias(node, x)
    else:
        low.add(node, QuantClamp(node.name, low.source(x), cap), [x])


def relu(low: Lowering, node: fx.Node) -> None:
    """Fused into its producer where it can be."""
    _bounded(low, node, arguments(node)["self"], math.inf)


def hardtanh(low: Lowering, node: fx.Node) -> None:
    """ReLU6 and its like."""
    a = arguments(node)
    if a["min_val"] != 0:
        raise Unsupported(f"its lower bound is {a['min_val']}, only 0 (ReLU6-like) is")
    _bounded(low, node, a["self"], float(a["max_val"]))


def add(low: Lowering, node: fx.Node) -> None:
    """Residual addition of equal shapes."""
    a = arguments(node)
    if a["alpha"] != 1:
        raise Unsupported(f"alpha is {a['alpha']}, expected 1")
    sources = low.source(a["self"]), low.source(a["other"])
    if shape(a["self"]) != shape(a["other"]):
        raise Unsupported(f"shapes {shape(a['self'])} and {shape(a['other'])} differ")
    low.add(node, QuantAdd(node.name, sources, Quantizer()), [a["self"], a["other"]])


def max_pool2d(low: Lowering, node: fx.Node) -> None:
    """Maximum over a window."""
    a = arguments(node)
    if _pair(a["dilation"]) != (1, 1) or a["ceil_mode"]:
        raise Unsupported("dilation or ceil_mode is set")
    kernel = _pair(a["kernel_size"])
    height, width = _pair(a["padding"])
    window = Window(kernel, _pair(a["stride"] or kernel), (height, width, height, width))
    low.add(node, QuantMaxPool(node.name, low.source(a["self"]), window), [a["self"]])


def avg_pool2d(low: Lowering, node: fx.Node) -> None:
    """Mean over a window."""
    a = arguments(node)
    if a["ceil_mode"] or a["divisor_override"] is not None or (any(_pair(a["padding"])) and not a["count_include_pad"]):
        raise Unsupported("ceil_mode, divisor_override or count_include_pad=False is set")
    kernel = _pair(a["kernel_size"])
    height, width = _pair(a["padding"])
    window = Window(kernel, _pair(a["stride"] or kernel), (height, width, height, width))
    _average(low, node, a["self"], window)


def _average(low: Lowering, node: fx.Node, x: fx.Node, window: Window) -> None:
    low.add(node, QuantAvgPool(node.name, low.source(x), Quantizer(), window), [x])


def adaptive_avg_pool2d(low: Lowering, node: fx.Node) -> None:
    """Mean over equal windows."""
    a = arguments(node)
    size, target = shape(a["self"])[2:], _pair(a["output_size"])
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


def cat(low: Lowering, node: fx.Node) -> None:
    """Join on the channel axis."""
    a = arguments(node)
    parts = a["tensors"]
    if len(shape(node)) != 4 or a["dim"] % 4 != 1:
        raise Unsupported(f"it joins axis {a['dim']} of {shape(node)}, only channels of [N, C, H, W] are")
    low.add(node, QuantConcat(node.name, [low.source(p) for p in parts], Quantizer()), parts)


Rule = Callable[[Lowering, fx.Node], None]

RULES: dict[str, Rule] = {
    "conv2d.default": conv2d,
    "conv2d.padding": conv2d,
    "linear.default": linear,
    "batch_norm.default": batch_norm,
    "relu.default": relu,
    "relu_.default": relu,
    "relu6.default": lambda low, node: _bounded(low, node, arguments(node)["self"], 6.0),
    "hardtanh.default": hardtanh,
    "hardtanh_.default": hardtanh,
    "add.Tensor": add,
    "add_.Tensor": add,
    "max_pool2d.default": max_pool2d,
    "avg_pool2d.default": avg_pool2d,
    "adaptive_avg_pool2d.default": adaptive_avg_pool2d,
    "mean.dim": mean,
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
    "cat.default": cat,
}
