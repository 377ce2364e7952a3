"""Convolution on any instruction set: TE compute in NHWC and the register-tiled schedule.

Schedule: split output channels by `lanes` and output columns by `positions`, keep that tile of 32-bit
sums in registers over the whole reduction, vectorise over channels, requantise the tile at once. TVM's
default schedule of the same compute is one to two orders slower.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from approx.tvm_adapter import tvm_submodule
from deploy.program import Conv2d, IntegerWeights, TensorSpec
from deploy.tvm_kernels.call import KernelCall, scalars
from deploy.tvm_kernels.geometry import ConvShape, Tiling, largest_divisor
from deploy.tvm_kernels.requantise import requantised, rounding_terms


@dataclass(frozen=True)
class Products:
    """Kind of products a kernel sums: exact when `rows` is 0, otherwise look-ups in a [256, rows] table.

    Attributes:
        rows: weight values of the table.
        table_type: dtype of the table's entries.
        weight_zero: whether weight zero points are subtracted (table only; exact weights already lack them).
    """

    rows: int = 0
    table_type: str = "int32"
    weight_zero: bool = False


def convolution_call(
    layer: Conv2d, source: TensorSpec, result: TensorSpec, batch: int, tiling: Tiling | None
) -> KernelCall:
    """The kernel and constants of a convolution; `tiling` None leaves TVM's default schedule."""
    shape = ConvShape.of(layer, source, result, batch)
    products, constants = product_constants(layer.weights, (1, 2, 3, 0))
    numbers = scalars(source.zero_point, result.zero_point, layer.low, layer.high)
    return KernelCall(
        ("convolution", shape, products, result.dtype, tiling),
        lambda: convolution_kernel(shape, products, result.dtype, tiling),
        (numbers, *constants),
    )


def product_constants(weights: IntegerWeights, order: tuple[int, ...]) -> tuple[Products, tuple[npt.NDArray[Any], ...]]:
    """Constants of a layer: weights (transposed by `order`), [table, weight zeros], then requantisation."""
    scaling = (weights.multiplier, rounding_terms(weights), weights.shift)
    values = weights.values.astype(np.int32)
    if weights.table is None:
        zero = weights.weight_zero.reshape(-1, *[1] * (values.ndim - 1))
        return Products(), (np.ascontiguousarray((values - zero).transpose(order), np.int16), *scaling)
    table = np.ascontiguousarray(weights.table.T)  # code-major: one code's products lie together
    dtype = next(kind for kind in ("int16", "uint16", "int32") if np.array_equal(table.astype(kind), table))
    rows = np.ascontiguousarray((values + weights.offset).transpose(order), np.int32)
    zero = weights.weight_zero
    products = Products(table.shape[1], dtype, bool(zero.any()))
    return products, (rows, table.ravel().astype(dtype), zero, *scaling)


def product_inputs(products: Products, weight_shape: tuple[int, ...], outputs: int) -> list[Any]:
    """TE placeholders of `product_constants`."""
    te = tvm_submodule("te")
    named = [("weight", weight_shape, "int32" if products.rows else "int16")]
    if products.rows:
        named += [
            ("table", (256 * products.rows,), products.table_type),
            ("weight_zero", (outputs,), "int32"),
        ]
    named += [
        ("multiplier", (outputs,), "int32"),
        ("rounding", (outputs,), "int64"),
        ("shift", (outputs,), "int32"),
    ]
    return [te.placeholder(shape, dtype, name=name) for name, shape, dtype in named]


def product(products: Products, inputs: list[Any], code: Any, weight: Any, output: Any) -> Any:
    """int32 product expression of a uint8 code with a weight (or table row)."""
    wide = code.astype("int32")
    if not products.rows:
        return wide * weight.astype("int32")
    entry = inputs[1][wide * products.rows + weight].astype("int32")
    return entry - wide * inputs[2][output] if products.weight_zero else entry


def padded(source: Any, shape: ConvShape, code: Any, channels: int = 0) -> Any:
    """The source with `code` at padding positions and in channels up to `channels`; itself without padding."""
    te, tirx = tvm_submodule("te"), tvm_submodule("tirx")
    top, left, bottom, right = shape.padding
    height, width, present = shape.source
    channels = channels or present
    if not any(shape.padding) and channels == present:
        return source

    def value(n: Any, i: Any, j: Any, c: Any) -> Any:
        inside = tirx.all(i >= top, i < top + height, j >= left, j < left + width, c < present)
        return tirx.if_then_else(inside, source[n, i - top, j - left, c], code.astype("uint8"))

    return te.compute((shape.batch, height + top + bottom, width + left + right, channels), value, name="padded")


def convolution_kernel(shape: ConvShape, products: Products, dtype: str, tiling: Tiling | None) -> Any:
    """PrimFunc (codes, numbers, weight, [table, weight zero], multiplier, rounding, shift, result)."""
    te = tvm_submodule("te")
    outputs = shape.result[2]
    source = te.placeholder((shape.batch, *shape.source), "uint8", name="codes")
    numbers = te.placeholder((4,), "int32", name="numbers")
    inputs = product_inputs(products, (*shape.kernel, shape.group_inputs, outputs), outputs)
    data = padded(source, shape, numbers[0])
    taps = [
        te.reduce_axis((0, extent), name)
        for extent, name in zip((*shape.kernel, shape.group_inputs), "abc", strict=True)
    ]

    def total(n: Any, i: Any, j: Any, o: Any) -> Any:
        a, b, c = taps
        channel = c if shape.groups == 1 else o // shape.group_outputs * shape.group_inputs + c
        row = i * shape.stride[0] + a * shape.dilation[0]
        column = j * shape.stride[1] + b * shape.dilation[1]
        return te.sum(product(products, inputs, data[n, row, column, channel], inputs[0][a, b, c, o], o), axis=taps)

    sums = te.compute((shape.batch, *shape.result), total, name="sums")
    multiplier, rounding, shift = inputs[-3:]
    limits = (numbers[1], numbers[2], numbers[3])
    result = te.compute(
        (shape.batch, *shape.result),
        lambda n, i, j, o: requantised(sums[n, i, j, o], multiplier[o], rounding[o], shift[o], limits, dtype),
        name="result",
    )
    function = te.create_prim_func([source, numbers, *inputs, result])
    return function if tiling is None else scheduled(function, shape, tiling)


def scheduled(function: Any, shape: ConvShape, tiling: Tiling) -> Any:
    """Applies the register-tiled schedule to a PrimFunc with blocks "sums" (a reduction) and "result"."""
    schedule = tvm_submodule("s_tir").Schedule(function)
    result, sums = schedule.get_sblock("result"), schedule.get_sblock("sums")
    lanes = largest_divisor(shape.result[2] if shape.depthwise else shape.group_outputs, tiling.lanes)
    positions = largest_divisor(shape.result[1], tiling.positions)
    batch, row, column, channel = schedule.get_loops(result)
    channel, lane = schedule.split(channel, [None, lanes])
    column, position = schedule.split(column, [None, positions])
    schedule.reorder(batch, row, column, channel, position, lane)
    schedule.vectorize(lane)
    schedule.compute_at(sums, channel, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    _, _, tile_position, tile_lane, *taps = schedule.get_loops(sums)[4:]
    schedule.reorder(*taps, tile_position, tile_lane)
    schedule.unroll(tile_position)
    schedule.vectorize(tile_lane)
    schedule.decompose_reduction(sums, taps[0])
    return schedule.mod["main"]
