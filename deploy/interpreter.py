"""The reference meaning of a `Program`: numpy, one small function per operation, 64-bit integers."""

from collections.abc import Callable, MutableMapping

import numpy as np
import numpy.typing as npt

from deploy.check import check_program
from deploy.products import PRODUCTS, Products, patches
from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Int16,
    Linear,
    MaxPool2d,
    Operation,
    Pad,
    Program,
    Slice,
    TensorSpec,
    UInt8,
)
from deploy.shapes import window_count

Codes = npt.NDArray[np.integer]
Int64 = npt.NDArray[np.int64]

_BATCH_BYTES = 24 << 20


def run(
    program: Program,
    codes: UInt8,
    *,
    record: MutableMapping[str, Codes] | None = None,
    kernels: str = "reference",
) -> Int16:
    """Executes a program.

    Args:
        program: what to execute; checked first.
        codes: uint8 [N, H, W, C] or [N, F], as `Program.quantise_input` gives them.
        record: receives every tensor by name, with the batch in front.
        kernels: "reference" (numpy only) or "fast" (`approx.kernels` and BLAS); the integers are the same.

    Returns:
        int16 [N, F], codes of the program's output.

    Raises:
        ValueError: codes of another shape or type, an unknown `kernels`, an invalid program.
    """
    if kernels not in PRODUCTS:
        raise ValueError(f"kernels must be one of {sorted(PRODUCTS)}, got {kernels!r}")
    shape = program.tensors[program.input].shape
    if codes.dtype != np.uint8 or codes.shape[1:] != shape:
        raise ValueError(
            f"the program takes codes uint8 {('N', *shape)}, got {codes.dtype} {codes.shape}; "
            "make them with Program.quantise_input"
        )
    check_program(program)
    step = max(1, _BATCH_BYTES // _sample_bytes(program))
    parts = [
        _run_batch(program, codes[start : start + step], PRODUCTS[kernels], keep=record is not None)
        for start in range(0, len(codes), step)
    ] or [_run_batch(program, codes, PRODUCTS[kernels], keep=record is not None)]
    if record is not None:
        record.update({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return np.concatenate([part[program.output] for part in parts]).astype(np.int16)


def _run_batch(program: Program, codes: UInt8, products: Products, *, keep: bool) -> dict[str, Codes]:
    tensors: dict[str, Codes] = {program.input: codes}
    last_use = {name: index for index, op in enumerate(program.operations) for name in op.inputs}
    for index, op in enumerate(program.operations):
        specs = [program.tensors[name] for name in op.inputs]
        out = program.tensors[op.output]
        tensors[op.output] = evaluate(op, [tensors[name] for name in op.inputs], specs, out, products)
        if not keep:
            for name in set(op.inputs):
                if last_use[name] == index and name != program.output:
                    del tensors[name]
    return tensors


def evaluate(op: Operation, inputs: list[Codes], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Codes:
    """One operation on codes [N, *shape]; the specifications are those of its inputs and of its output."""
    return _EVALUATE[type(op)](op, inputs, specs, out, products).astype(out.dtype)


def _sample_bytes(program: Program) -> int:
    """Memory of the largest operation for one sample: receptive fields as float64, sums as int64."""
    largest = 1
    for op in program.operations:
        size = program.tensors[op.output].size
        fan_in = 0
        if isinstance(op, Conv2d):
            fan_in = op.weights.values[0].size * op.groups * size // len(op.weights.values)
        largest = max(largest, 8 * fan_in + 24 * size)
    return largest


def requantise(
    sums: Int64, multiplier: npt.ArrayLike, shift: npt.ArrayLike, zero_point: int, bounds: tuple[int, int]
) -> Int64:
    """clamp(zero_point + ((sums * multiplier + 2^(shift - 1)) >> shift), *bounds), flooring, in int64.

    Args:
        sums: int64 [..., O].
        multiplier, shift: scalars or [O].
        zero_point: of the result.
        bounds: smallest and largest result.
    """
    factor, amount = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    scaled = (sums * factor + (np.int64(1) << (amount - 1))) >> amount
    return np.clip(scaled + zero_point, *bounds)


def accumulate(op: Conv2d | Linear, codes: UInt8, zero_point: int, products: Products) -> Int64:
    """Accumulators of a layer before requantisation: bias + sums of products - weight zero * sum_k x_k.

    Args:
        op: the layer.
        codes: its input, uint8 [N, H, W, I] or [N, K].
        zero_point: code of real zero in `codes`, held by padding positions.
        products: how sums of products are computed.

    Returns:
        int64 [N, Ho, Wo, O] or [N, O].
    """
    weights = op.weights
    sums = products.conv2d(op, codes, zero_point) if isinstance(op, Conv2d) else products.linear(weights, codes)
    sums = sums + weights.bias.astype(np.int64)
    if weights.weight_zero.any():
        sums -= weights.weight_zero.astype(np.int64) * _field_sums(op, codes, zero_point)
    return sums


def _field_sums(op: Conv2d | Linear, codes: UInt8, zero_point: int) -> Int64:
    """sum_k x_k over each receptive field, int64 [N, Ho, Wo, O] or [N, 1]."""
    if isinstance(op, Linear):
        return codes.sum(axis=1, dtype=np.int64, keepdims=True)
    fields = patches(op, codes, zero_point).sum(axis=(3, 4), dtype=np.int64)
    per_group = fields.reshape(*fields.shape[:3], op.groups, codes.shape[3] // op.groups).sum(axis=4)
    return per_group.repeat(len(op.weights.values) // op.groups, axis=3)


def _layer(
    op: Conv2d | Linear, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products
) -> Int64:
    sums = accumulate(op, inputs[0], specs[0].zero_point, products)
    return requantise(sums, op.weights.multiplier, op.weights.shift, out.zero_point, (op.low, op.high))


def _add(op: Add, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Int64:
    total = sum(
        multiplier * (codes.astype(np.int64) - spec.zero_point)
        for multiplier, codes, spec in zip(op.multipliers, inputs, specs, strict=True)
    )
    return requantise(np.asarray(total), 1, op.shift, out.zero_point, (op.low, op.high))


def _windows(op: MaxPool2d | AvgPool2d, codes: UInt8, pad_code: int) -> npt.NDArray[np.uint8]:
    """uint8 [N, Ho, Wo, C, kh, kw]."""
    top, left, bottom, right = op.padding
    padded = np.pad(codes, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad_code)
    windows = np.lib.stride_tricks.sliding_window_view(padded, op.kernel, axis=(1, 2))
    height = window_count(codes.shape[1], op.kernel[0], op.stride[0], 1, top, bottom)
    width = window_count(codes.shape[2], op.kernel[1], op.stride[1], 1, left, right)
    return windows[:, :: op.stride[0], :: op.stride[1]][:, :height, :width]


def _max_pool2d(
    op: MaxPool2d, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products
) -> Codes:
    return _windows(op, inputs[0], 0).max(axis=(4, 5))


def _avg_pool2d(
    op: AvgPool2d, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products
) -> Int64:
    zero = specs[0].zero_point
    sums = _windows(op, inputs[0], zero).sum(axis=(4, 5), dtype=np.int64) - op.kernel[0] * op.kernel[1] * zero
    return requantise(sums, op.multiplier, op.shift, out.zero_point, (op.low, op.high))


def _clamp(op: Clamp, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Codes:
    return np.clip(inputs[0].astype(np.int64), op.low, op.high)


def _pad(op: Pad, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Codes:
    return np.pad(inputs[0], ((0, 0), *op.amounts), constant_values=specs[0].zero_point)


def _slice(op: Slice, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Codes:
    rows, columns, channels = (
        slice(*bounds) for bounds in zip(op.starts, op.stops, op.steps, strict=True)
    )  # fmt: skip
    return inputs[0][:, rows, columns, channels]


def _concat(op: Concat, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Int64:
    parts = [
        requantise(codes.astype(np.int64) - spec.zero_point, multiplier, shift, out.zero_point, (0, 255))
        for codes, spec, multiplier, shift in zip(inputs, specs, op.multipliers, op.shifts, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


def _flatten(op: Flatten, inputs: list[UInt8], specs: list[TensorSpec], out: TensorSpec, products: Products) -> Codes:
    codes = inputs[0] if inputs[0].ndim == 2 else np.moveaxis(inputs[0], 3, 1)
    return codes.reshape(len(codes), out.size)


_EVALUATE: dict[type[Operation], Callable[..., Codes]] = {
    Conv2d: _layer,
    Linear: _layer,
    Add: _add,
    MaxPool2d: _max_pool2d,
    AvgPool2d: _avg_pool2d,
    Clamp: _clamp,
    Pad: _pad,
    Slice: _slice,
    Concat: _concat,
    Flatten: _flatten,
}
