"""Linear layers: TE compute and schedule, on any instruction set."""

from typing import Any

from approx.tvm_adapter import tvm_submodule
from deploy.program import Linear, TensorSpec
from deploy.tvm_kernels.call import KernelCall, scalars
from deploy.tvm_kernels.convolution import Products, product, product_constants, product_inputs
from deploy.tvm_kernels.geometry import Tiling, largest_divisor
from deploy.tvm_kernels.requantise import requantised


def linear_call(layer: Linear, source: TensorSpec, result: TensorSpec, batch: int, tiling: Tiling | None) -> KernelCall:
    """The kernel and constants of a linear layer; `tiling` None leaves TVM's default schedule."""
    products, constants = product_constants(layer.weights, (1, 0))
    sizes = (batch, source.size, result.size)
    numbers = scalars(source.zero_point, result.zero_point, layer.low, layer.high)
    return KernelCall(
        ("linear", sizes, products, result.dtype, tiling),
        lambda: linear_kernel(sizes, products, result.dtype, tiling),
        (numbers, *constants),
    )


def linear_kernel(sizes: tuple[int, int, int], products: Products, dtype: str, tiling: Tiling | None) -> Any:
    """PrimFunc (codes, numbers, weight, [table, weight zero], multiplier, rounding, shift, result)."""
    te = tvm_submodule("te")
    batch, fan_in, outputs = sizes
    source = te.placeholder((batch, fan_in), "uint8", name="codes")
    numbers = te.placeholder((4,), "int32", name="numbers")
    inputs = product_inputs(products, (fan_in, outputs), outputs)
    k = te.reduce_axis((0, fan_in), "k")
    sums = te.compute(
        (batch, outputs),
        lambda n, o: te.sum(product(products, inputs, source[n, k], inputs[0][k, o], o), axis=k),
        name="sums",
    )
    multiplier, rounding, shift = inputs[-3:]
    limits = (numbers[1], numbers[2], numbers[3])
    result = te.compute(
        (batch, outputs),
        lambda n, o: requantised(sums[n, o], multiplier[o], rounding[o], shift[o], limits, dtype),
        name="result",
    )
    function = te.create_prim_func([source, numbers, *inputs, result])
    if tiling is None:
        return function
    schedule = tvm_submodule("s_tir").Schedule(function)
    block, total = schedule.get_sblock("result"), schedule.get_sblock("sums")
    _, channel = schedule.get_loops(block)
    channel, lane = schedule.split(channel, [None, largest_divisor(outputs, tiling.lanes)])
    schedule.vectorize(lane)
    schedule.compute_at(total, channel, preserve_unit_loops=True)
    schedule.set_scope(total, 0, "local")
    *_, tile_lane, reduction = schedule.get_loops(total)
    schedule.reorder(reduction, tile_lane)
    schedule.vectorize(tile_lane)
    schedule.decompose_reduction(total, reduction)
    return schedule.mod["main"]
