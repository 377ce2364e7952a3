"""Every operation of the integer program as ONNX nodes on [N, C, H, W] or [N, F] tensors.

`OPERATORS` maps an operation's type to the function that adds its nodes and returns the name of the
result, already in the output's dtype.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deploy.accumulator import accumulator_bound
from deploy.onnx_export.graph import Graph
from deploy.onnx_export.layers import (
    convolution_patches,
    exact_convolution,
    exact_linear,
    pad_spatial,
    table_sums,
)
from deploy.onnx_export.requantise import clamp, floor_shift, requantise
from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Operation,
    Pad,
    Slice,
    TensorSpec,
)

Specs = Sequence[TensorSpec]
Convert = Callable[[Graph, Any, Sequence[str], Specs, TensorSpec], str]

_CODES = (0, 255)


def convolution(graph: Graph, layer: Conv2d, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Conv2d: ConvInteger, or patches and table look-ups."""
    weights = layer.weights
    bound = accumulator_bound(weights, layer.name)
    padded = pad_spatial(graph, inputs[0], layer.padding, specs[0].zero_point)
    if weights.table is None:
        total = exact_convolution(graph, padded, layer)
    else:
        rows, columns, channels = out.shape
        patches = convolution_patches(graph, padded, layer, specs[0], out)
        total = table_sums(graph, patches, layer, layer.groups, rows * columns)
        total = graph.reshape(total, (0, channels, rows, columns))
    accumulator = graph.node("Add", total, graph.constant(weights.bias.reshape(1, -1, 1, 1), np.int32))
    return requantise(graph, accumulator, weights, bound, out, (layer.low, layer.high))


def linear(graph: Graph, layer: Linear, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Linear: MatMulInteger, or table look-ups."""
    weights = layer.weights
    bound = accumulator_bound(weights, layer.name)
    if weights.table is None:
        total = exact_linear(graph, inputs[0], layer)
    else:
        patches = graph.node("Unsqueeze", inputs[0], graph.constant([1, 2], np.int64))
        total = table_sums(graph, patches, layer, 1, 1)
        total = graph.reshape(total, (0, out.shape[0]))
    accumulator = graph.node("Add", total, graph.constant(weights.bias.reshape(1, -1), np.int32))
    return requantise(graph, accumulator, weights, bound, out, (layer.low, layer.high))


def _scaled(graph: Graph, value: str, spec: TensorSpec, multiplier: int) -> str:
    centred = graph.node("Sub", graph.cast(value, "int64"), graph.constant(spec.zero_point, np.int64))
    return graph.node("Mul", centred, graph.constant(multiplier, np.int64))


def _bound(value: int) -> Any:
    return np.asarray(value, np.int64)


def add(graph: Graph, operation: Add, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Add: both sides scaled in 64 bits, one shift."""
    sides = [
        _scaled(graph, value, spec, multiplier)
        for value, spec, multiplier in zip(inputs, specs, operation.multipliers, strict=True)
    ]
    bound = _bound(255 * sum(abs(multiplier) for multiplier in operation.multipliers))
    shifted = floor_shift(graph, graph.node("Add", *sides), _bound(operation.shift), bound)
    return clamp(graph, shifted, out.zero_point, (operation.low, operation.high), out.dtype)


def max_pool(graph: Graph, pool: MaxPool2d, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """MaxPool2d: padding never wins in ONNX either."""
    window = {"kernel_shape": pool.kernel, "strides": pool.stride, "pads": pool.padding}
    result = graph.node("MaxPool", inputs[0], **window)
    return result if out.dtype == "uint8" else graph.cast(result, out.dtype)


def _apart_pad(graph: Graph, value: str, amounts: Sequence[int], code: int) -> str:
    """Pads between two casts: onnxruntime merges a bare Pad into a pool, then refuses padding that wide."""
    wide = graph.cast(value, "int32")
    code_name = graph.constant(code, np.int32)
    return graph.cast(graph.node("Pad", wide, graph.constant(amounts, np.int64), code_name), "uint8")


def avg_pool(graph: Graph, pool: AvgPool2d, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """AvgPool2d: window sums by a depthwise ConvInteger of ones, then one 64-bit scaling."""
    spec = specs[0]
    padded = pad_spatial(graph, inputs[0], pool.padding, spec.zero_point)
    channels, taps = spec.shape[2], pool.kernel[0] * pool.kernel[1]
    ones = graph.constant(np.ones((channels, 1, *pool.kernel)), np.uint8)
    sums = graph.node("ConvInteger", padded, ones, strides=pool.stride, group=channels)
    zero = graph.constant(taps * spec.zero_point, np.int64)
    centred = graph.node("Sub", graph.cast(sums, "int64"), zero)
    scaled = graph.node("Mul", centred, graph.constant(pool.multiplier, np.int64))
    bound = _bound(255 * taps * abs(pool.multiplier))
    shifted = floor_shift(graph, scaled, _bound(pool.shift), bound)
    return clamp(graph, shifted, out.zero_point, (pool.low, pool.high), out.dtype)


def clip(graph: Graph, operation: Clamp, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Clamp: Clip of the codes."""
    limits = [graph.constant(limit, np.int64) for limit in (operation.low, operation.high)]
    return graph.cast(graph.node("Clip", graph.cast(inputs[0], "int64"), *limits), out.dtype)


def pad(graph: Graph, operation: Pad, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Pad on all three axes."""
    rows, columns, channels = operation.amounts
    before, after = zip((0, 0), channels, rows, columns, strict=True)
    result = _apart_pad(graph, inputs[0], (*before, *after), specs[0].zero_point)
    return result if out.dtype == "uint8" else graph.cast(result, out.dtype)


def cut(graph: Graph, operation: Slice, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Slice on all three axes."""
    edges = [graph.constant(values, np.int64) for values in (operation.starts, operation.stops)]
    axes, steps = graph.constant([2, 3, 1], np.int64), graph.constant(operation.steps, np.int64)
    result = graph.node("Slice", inputs[0], *edges, axes, steps)
    return result if out.dtype == "uint8" else graph.cast(result, out.dtype)


def concat(graph: Graph, operation: Concat, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Concat on channels, every input rescaled in 64 bits."""
    parts = []
    for value, spec, multiplier, shift in zip(inputs, specs, operation.multipliers, operation.shifts, strict=True):
        scaled = _scaled(graph, value, spec, multiplier)
        shifted = floor_shift(graph, scaled, _bound(shift), _bound(255 * abs(multiplier)))
        parts.append(clamp(graph, shifted, out.zero_point, _CODES, out.dtype))
    return graph.node("Concat", *parts, axis=1)


def flatten(graph: Graph, operation: Flatten, inputs: Sequence[str], specs: Specs, out: TensorSpec) -> str:
    """Flatten: tensors are channel-first already."""
    result = graph.reshape(inputs[0], (0, out.size)) if len(specs[0].shape) == 3 else inputs[0]
    return result if out.dtype == "uint8" else graph.cast(result, out.dtype)


OPERATORS: dict[type[Operation], Convert] = {
    Conv2d: convolution,
    Linear: linear,
    Add: add,
    MaxPool2d: max_pool,
    AvgPool2d: avg_pool,
    Clamp: clip,
    Pad: pad,
    Slice: cut,
    Concat: concat,
    Flatten: flatten,
}
