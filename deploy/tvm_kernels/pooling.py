"""Pooling: a depthwise reduction with the convolutions' schedule."""

from collections.abc import Sequence
from typing import Any

from approx.tvm_adapter import tvm_submodule
from deploy.program import AvgPool2d, MaxPool2d, TensorSpec
from deploy.tvm_kernels.call import KernelCall, scalars
from deploy.tvm_kernels.convolution import padded, scheduled
from deploy.tvm_kernels.geometry import ConvShape, Tiling
from deploy.tvm_kernels.requantise import requantised


def pool_call(
    pool: AvgPool2d | MaxPool2d,
    specs: Sequence[TensorSpec],
    out: TensorSpec,
    batch: int,
    tiling: Tiling | None,
) -> KernelCall:
    """The kernel and constants of a pooling operation; `tiling` None leaves TVM's default schedule."""
    (height, width, channels), (rows, columns, _) = specs[0].shape, out.shape
    shape = ConvShape(
        batch,
        (height, width, channels),
        (rows, columns, channels),
        pool.kernel,
        pool.stride,
        (1, 1),
        pool.padding,
        channels,
    )
    if isinstance(pool, AvgPool2d):
        taps = pool.kernel[0] * pool.kernel[1]
        zero = specs[0].zero_point
        numbers = scalars(zero, out.zero_point, pool.low, pool.high, pool.multiplier, pool.shift, taps * zero)
    else:
        numbers = scalars(0)  # the code at padding positions: it never wins
    average = isinstance(pool, AvgPool2d)
    return KernelCall(
        ("pool", average, shape, out.dtype, tiling),
        lambda: pool_kernel(shape, average, out.dtype, tiling),
        (numbers,),
    )


def pool_kernel(shape: ConvShape, average: bool, dtype: str, tiling: Tiling | None) -> Any:
    """PrimFunc (codes, numbers, result)."""
    te, tirx = tvm_submodule("te"), tvm_submodule("tirx")
    source = te.placeholder((shape.batch, *shape.source), "uint8", name="codes")
    numbers = te.placeholder((7 if average else 1,), "int32", name="numbers")
    data = padded(source, shape, numbers[0])
    taps = [te.reduce_axis((0, extent), name) for extent, name in zip(shape.kernel, "ab", strict=True)]

    def window(n: Any, i: Any, j: Any, o: Any) -> Any:
        code = data[n, i * shape.stride[0] + taps[0], j * shape.stride[1] + taps[1], o]
        return te.sum(code.astype("int32"), axis=taps) if average else te.max(code, axis=taps)

    sums = te.compute((shape.batch, *shape.result), window, name="sums")

    def finished(*index: Any) -> Any:
        if not average:
            return sums[index].astype(dtype)
        rounding = tirx.const(1, "int64") << (numbers[5].astype("int64") - 1)
        limits = (numbers[1], numbers[2], numbers[3])
        return requantised(sums[index] - numbers[6], numbers[4], rounding, numbers[5], limits, dtype)

    result = te.compute((shape.batch, *shape.result), finished, name="result")
    function = te.create_prim_func([source, numbers, result])
    return function if tiling is None else scheduled(function, shape, tiling)
