"""Exact convolution by 8-bit dot products (AVX-512 VNNI): 64 multiplications per instruction, 32-bit sums.

`vpdpbusd` multiplies four unsigned codes with four signed weights per 32-bit lane and adds without saturation. Weights
are packed [O / 16, kh, kw, C / 4, 16, 4]; input channels are padded to a multiple of 4 (weight 0), output channels to a
multiple of 16 (not stored).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from approx.tvm_adapter import tvm_submodule
from deploy.program import Conv2d, TensorSpec
from deploy.tvm_kernels.call import KernelCall, scalars
from deploy.tvm_kernels.convolution import padded
from deploy.tvm_kernels.dot_product_script import DEPTH, LANES, dot_product_intrinsic
from deploy.tvm_kernels.geometry import ConvShape, largest_divisor
from deploy.tvm_kernels.requantise import padded_scaling, requantised

_POSITIONS = 8


def dot_product_weights(layer: Conv2d) -> npt.NDArray[np.int16] | None:
    """Weights minus zero points [O, kh, kw, C] if they suit 8-bit dot products, otherwise None."""
    weights = layer.weights
    if layer.groups != 1 or weights.table is not None:
        return None
    values = weights.values - weights.weight_zero.reshape(-1, 1, 1, 1)
    fits = values.min() >= -128 and values.max() <= 127
    return values.astype(np.int16) if fits else None


def dot_product_call(
    layer: Conv2d, values: npt.NDArray[np.int16], source: TensorSpec, result: TensorSpec, batch: int
) -> KernelCall:
    """The kernel and constants of an exact convolution; `values` from `dot_product_weights`."""
    shape = ConvShape.of(layer, source, result, batch)
    numbers = scalars(source.zero_point, result.zero_point, layer.low, layer.high)
    return KernelCall(
        ("dot product", shape, result.dtype),
        lambda: dot_product_kernel(shape, result.dtype),
        (numbers, packed(values), *padded_scaling(layer.weights, LANES)),
    )


def packed(values: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
    """Weights [O, kh, kw, C] as int8 [O / 16, kh, kw, C / 4, 16, 4], padded with zeros."""
    outputs, rows, columns, channels = values.shape
    grown = np.pad(values, ((0, -outputs % LANES), (0, 0), (0, 0), (0, -channels % DEPTH))).astype(np.int8)
    split = grown.reshape(-1, LANES, rows, columns, grown.shape[3] // DEPTH, DEPTH)
    return np.ascontiguousarray(split.transpose(0, 2, 3, 4, 1, 5))


def dot_product_kernel(shape: ConvShape, dtype: str) -> Any:
    """PrimFunc (codes, numbers, weight, multiplier, rounding, shift, result)."""
    te = tvm_submodule("te")
    outputs = shape.result[2]
    blocks, deep = -(-outputs // LANES), -(-shape.source[2] // DEPTH)
    extents = (*shape.kernel, deep, DEPTH)
    source = te.placeholder((shape.batch, *shape.source), "uint8", name="codes")
    numbers = te.placeholder((4,), "int32", name="numbers")
    weight = te.placeholder((blocks, *shape.kernel, deep, LANES, DEPTH), "int8", name="weight")
    scaling = [
        te.placeholder((blocks * LANES,), kind, name=name)
        for name, kind in (("multiplier", "int32"), ("rounding", "int64"), ("shift", "int32"))
    ]
    data = padded(source, shape, numbers[0], channels=deep * DEPTH)
    a, b, c, d = (te.reduce_axis((0, extent), name) for extent, name in zip(extents, "abcd", strict=True))

    def total(n: Any, i: Any, j: Any, block: Any, lane: Any) -> Any:
        row, column = (
            position * step + tap * spread
            for position, step, tap, spread in zip((i, j), shape.stride, (a, b), shape.dilation, strict=True)
        )
        code = data[n, row, column, c * DEPTH + d].astype("int32")
        return te.sum(code * weight[block, a, b, c, lane, d].astype("int32"), axis=(a, b, c, d))

    tile = (shape.batch, *shape.result[:2], blocks, LANES)
    sums = te.compute(tile, total, name="sums")
    limits = (numbers[1], numbers[2], numbers[3])

    def scaled_tile(n: Any, i: Any, j: Any, block: Any, lane: Any) -> Any:
        channel = block * LANES + lane
        multiplier, rounding, shift = (values[channel] for values in scaling)
        return requantised(sums[n, i, j, block, lane], multiplier, rounding, shift, limits, dtype)

    scaled = te.compute(tile, scaled_tile, name="scaled")
    result = te.compute(
        (shape.batch, *shape.result), lambda n, i, j, o: scaled[n, i, j, o // LANES, o % LANES], name="result"
    )
    function = te.create_prim_func([source, numbers, weight, *scaling, result])
    return _scheduled(function, shape)


def _scheduled(function: Any, shape: ConvShape) -> Any:
    schedule = tvm_submodule("s_tir").Schedule(function)
    result, scaled, sums = (schedule.get_sblock(name) for name in ("result", "scaled", "sums"))
    batch, row, column, channel = schedule.get_loops(result)
    block, lane = schedule.split(channel, [None, LANES])
    column, position = schedule.split(column, [None, largest_divisor(shape.result[1], _POSITIONS)])
    schedule.reorder(batch, row, column, block, position, lane)
    if shape.result[2] % LANES:
        schedule.compute_at(scaled, block, preserve_unit_loops=True)
        schedule.set_scope(scaled, 0, "local")
        schedule.vectorize(schedule.get_loops(scaled)[-1])
    else:
        schedule.compute_inline(scaled)
        schedule.vectorize(lane)
    schedule.compute_at(sums, block, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    one_sample, one_row, position, one_block, lane, *taps, depth = schedule.get_loops(sums)[4:]
    schedule.reorder(one_sample, one_row, one_block, *taps, position, lane, depth)
    schedule.unroll(position)
    start = schedule.decompose_reduction(sums, taps[0])
    schedule.vectorize(schedule.get_loops(start)[-1])
    schedule.tensorize(lane, dot_product_intrinsic())
    return schedule.mod["main"]
