"""Convolution and linear layers as ONNX nodes: exact integer operators, circuits by table look-up.

Exact layers use ConvInteger / MatMulInteger with *unsigned* 8-bit weights: several CPUs' signed kernels
saturate 16-bit intermediate sums, unsigned ones do not. Weights that do not fit 8 bits become a
difference of two unsigned ones.
"""

import numpy as np
import numpy.typing as npt

from deploy.onnx_export.graph import Graph
from deploy.program import Conv2d, IntegerWeights, Linear, TensorSpec

Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]

CHUNK_BYTES = 1 << 26  # wanted size of one table look-up per sample
LIMIT_BYTES = 1 << 30  # refused above, when even one output channel is larger
_INDEX_AND_PRODUCT = 8  # bytes per look-up: an int32 index and an int32 product


def unsigned_parts(weights: IntegerWeights, name: str) -> list[tuple[UInt8, int, int]]:
    """Exact weights as a sum of `sign * (part - zero)`, part uint8, in ONNX axis order.

    Raises:
        ValueError: a weight lies outside -255..255.
    """
    zero = weights.weight_zero.reshape(-1, *[1] * (weights.values.ndim - 1))
    values = np.moveaxis(weights.values.astype(np.int64) - zero, -1, 1)
    low, high = values.min(initial=0), values.max(initial=0)
    if low < -255 or high > 255:
        raise ValueError(f"layer {name!r}: expected weights minus zero point in -255..255, got {low}..{high}")
    if low >= 0:
        return [(values.astype(np.uint8), 0, 1)]
    if low >= -128 and high <= 127:
        return [((values + 128).astype(np.uint8), 128, 1)]
    return [(np.maximum(values, 0).astype(np.uint8), 0, 1), (np.maximum(-values, 0).astype(np.uint8), 0, -1)]


def pad_spatial(graph: Graph, value: str, padding: tuple[int, int, int, int], code: int) -> str:
    """Pads a uint8 [N, C, H, W] tensor by (top, left, bottom, right) positions of `code`."""
    if not any(padding):
        return value
    top, left, bottom, right = padding
    amounts = graph.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return graph.node("Pad", value, amounts, graph.constant(code, np.uint8), mode="constant")


def exact_convolution(graph: Graph, value: str, layer: Conv2d) -> str:
    """Sums of exact products, int32 [N, O, Ho, Wo], of a padded uint8 [N, I, H, W] tensor."""
    sums = []
    for part, zero, sign in unsigned_parts(layer.weights, layer.name):
        inputs = [value, graph.constant(part, np.uint8)]
        if zero:
            inputs += [graph.constant(0, np.uint8), graph.constant(zero, np.uint8)]
        attributes = {
            "strides": layer.stride,
            "dilations": layer.dilation,
            "group": layer.groups,
            "pads": [0, 0, 0, 0],
        }
        sums.append((graph.node("ConvInteger", *inputs, **attributes), sign))
    return _signed_sum(graph, sums)


def exact_linear(graph: Graph, value: str, layer: Linear) -> str:
    """Sums of exact products, int32 [N, O], of a uint8 [N, K] tensor."""
    sums = []
    for part, zero, sign in unsigned_parts(layer.weights, layer.name):
        inputs = [value, graph.constant(part.T, np.uint8)]
        if zero:
            inputs += [graph.constant(0, np.uint8), graph.constant(zero, np.uint8)]
        sums.append((graph.node("MatMulInteger", *inputs), sign))
    return _signed_sum(graph, sums)


def _signed_sum(graph: Graph, sums: list[tuple[str, int]]) -> str:
    total, _ = sums[0]
    for name, sign in sums[1:]:
        total = graph.node("Add" if sign > 0 else "Sub", total, name)
    return total


def convolution_patches(graph: Graph, value: str, layer: Conv2d, spec: TensorSpec, out: TensorSpec) -> str:
    """Receptive fields uint8 [N, groups, Ho * Wo, K] of a padded [N, I, H, W] tensor; K is (I, kh, kw)."""
    channels = spec.shape[2]
    rows, columns = out.shape[0], out.shape[1]
    _, kernel_rows, kernel_columns, _ = layer.weights.values.shape
    row_index = _window_index(rows, kernel_rows, layer.stride[0], layer.dilation[0])
    column_index = _window_index(columns, kernel_columns, layer.stride[1], layer.dilation[1])
    tall = graph.node("Gather", value, graph.constant(row_index, np.int64), axis=2)  # [N, I, Ho, kh, W]
    both = graph.node("Gather", tall, graph.constant(column_index, np.int64), axis=4)  # [N, I, Ho, kh, Wo, kw]
    per_group = channels // layer.groups
    split = graph.reshape(both, (0, layer.groups, per_group, rows, kernel_rows, columns * kernel_columns))
    split = graph.reshape(split, (0, 0, 0, 0, 0, columns, kernel_columns))
    ordered = graph.node("Transpose", split, perm=[0, 1, 3, 5, 2, 4, 6])
    return graph.reshape(ordered, (0, 0, rows * columns, per_group * kernel_rows * kernel_columns))


def _window_index(positions: int, taps: int, stride: int, dilation: int) -> Int64:
    return np.arange(positions)[:, None] * stride + np.arange(taps)[None, :] * dilation


def table_sums(graph: Graph, patches: str, layer: Conv2d | Linear, groups: int, positions: int) -> str:
    """Sums of circuit products minus the weight zero points' share, int32 [N, O, positions].

    Args:
        graph: graph to add to.
        patches: name of the uint8 [N, groups, positions, K] tensor.
        layer: the layer; its weights have a table.
        groups, positions: sizes of the axes of `patches`.

    Raises:
        ValueError: the look-ups of a single output channel need more than `LIMIT_BYTES`.
    """
    weights = layer.weights
    assert weights.table is not None
    values = weights.values if weights.values.ndim == 2 else np.moveaxis(weights.values, -1, 1)
    flat = (values.reshape(len(values), -1).astype(np.int64) + weights.offset) * 256
    index = flat.reshape(groups, -1, 1, flat.shape[1])  # [groups, O / groups, 1, K]
    table = graph.constant(weights.table.ravel(), np.int32)
    codes = graph.cast(patches, "int32")
    column = graph.node("Unsqueeze", codes, graph.constant([2], np.int64))  # [N, groups, 1, positions, K]
    pieces = []
    for group, channel in _chunks(index.shape, positions, layer.name):
        part = column
        if groups > 1:
            ends = [graph.constant([edge], np.int64) for edge in (group.start, group.stop)]
            part = graph.node("Slice", column, *ends, graph.constant([1], np.int64))
        where = graph.node("Add", part, graph.constant(index[None, group, channel], np.int32))
        products = graph.node("Gather", table, where, axis=0)
        sums = graph.node("ReduceSum", products, graph.constant([4], np.int64), keepdims=0)
        pieces.append(graph.reshape(sums, (0, -1, positions)))
    total = pieces[0] if len(pieces) == 1 else graph.node("Concat", *pieces, axis=1)
    if not weights.weight_zero.any():
        return total
    code_sums = graph.node("ReduceSum", codes, graph.constant([3], np.int64), keepdims=0)  # [N, groups, positions]
    code_sums = graph.node("Unsqueeze", code_sums, graph.constant([2], np.int64))
    zero = graph.constant(weights.weight_zero.reshape(1, groups, -1, 1), np.int32)
    share = graph.node("Mul", code_sums, zero)
    return graph.node("Sub", total, graph.reshape(share, (0, len(values), positions)))


def _chunks(shape: tuple[int, ...], positions: int, name: str) -> list[tuple[slice, slice]]:
    groups, outputs, _, fan_in = shape
    channel_bytes = positions * fan_in * _INDEX_AND_PRODUCT
    if channel_bytes > LIMIT_BYTES:
        raise ValueError(
            f"layer {name!r}: table look-ups of one output channel need {channel_bytes} bytes "
            f"({positions} positions x {fan_in} products), expected at most {LIMIT_BYTES}; "
            "use the TVM or C back end, or a smaller input"
        )
    channels = max(1, CHUNK_BYTES // channel_bytes)
    if channels >= outputs:
        step = channels // outputs
        return [(slice(g, min(g + step, groups)), slice(0, outputs)) for g in range(0, groups, step)]
    starts = range(0, outputs, channels)
    return [(slice(g, g + 1), slice(c, min(c + channels, outputs))) for g in range(groups) for c in starts]
