"""Is a program valid? Shapes, ranges and types of every operation, before anything runs or is compiled.

Every back end may assume what is checked here; `load_program`, `emit_c` and `run` check first.
"""

import itertools
from collections.abc import Iterable

import numpy as np

from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    IntegerWeights,
    Linear,
    MaxPool2d,
    Operation,
    Pad,
    Program,
    Slice,
    TensorSpec,
)
from deploy.shapes import output_shape

_CODE_RANGE = {"uint8": (0, 255), "int16": (-32768, 32767)}
_PICTURE = (Conv2d, MaxPool2d, AvgPool2d, Pad, Slice)
_INT32_MAX = 2**31 - 1


def check_program(program: Program) -> None:
    """Refuses a program that breaks the contract of `deploy.program`.

    Raises:
        ValueError: naming the operation, what was expected and what came.
    """
    _check_spec(program.input, program.tensors[program.input])
    for operation in program.operations:
        inputs = [program.tensors[name] for name in operation.inputs]
        output = program.tensors[operation.output]
        where = f"{type(operation).__name__} {operation.name!r}"
        _check_spec(operation.output, output)
        for name, spec in zip(operation.inputs, inputs, strict=True):
            _expect(spec.dtype == "uint8", where, f"reads {name!r} of type {spec.dtype}, expected uint8")
        wide = output.dtype == "int16"
        _expect(not wide or operation.output == program.output, where, "writes int16, only the last may")
        _check_inputs(where, operation, inputs)
        _check_fields(where, operation, inputs)
        expected = output_shape(operation, [spec.shape for spec in inputs])
        _expect(min(expected) > 0, where, f"would write an empty tensor {expected} from {inputs[0].shape}")
        _expect(
            output.shape == expected,
            where,
            f"writes shape {expected}, but {operation.output!r} is {output.shape}",
        )
        _check_bounds(where, operation, output)


def _expect(condition: bool, where: str, problem: str) -> None:
    if not condition:
        raise ValueError(f"{where} {problem}; correct the lowering that made this program")


def _check_spec(name: str, spec: TensorSpec) -> None:
    where = f"tensor {name!r}"
    _expect(spec.dtype in _CODE_RANGE, where, f"has type {spec.dtype!r}, expected uint8 or int16")
    _expect(len(spec.shape) in (1, 3), where, f"has shape {spec.shape}, expected (H, W, C) or (F,)")
    _expect(min(spec.shape) > 0, where, f"has an empty shape {spec.shape}")
    low, high = _CODE_RANGE[spec.dtype]
    _expect(low <= spec.zero_point <= high, where, f"has zero point {spec.zero_point}, expected {low} to {high}")


def _check_inputs(where: str, operation: Operation, inputs: list[TensorSpec]) -> None:
    count = 2 if isinstance(operation, Add) else len(operation.multipliers) if isinstance(operation, Concat) else 1
    _expect(len(inputs) == count > 0, where, f"reads {len(inputs)} tensors, expected {count}")
    rank = len(inputs[0].shape)
    if isinstance(operation, _PICTURE):
        _expect(rank == 3, where, f"reads shape {inputs[0].shape}, expected (H, W, C)")
    if isinstance(operation, Linear):
        _expect(rank == 1, where, f"reads shape {inputs[0].shape}, expected (F,): put a Flatten before it")
    if isinstance(operation, Add):
        _expect(inputs[0].shape == inputs[1].shape, where, f"adds {inputs[0].shape} and {inputs[1].shape}")
    if isinstance(operation, Concat):
        outer = {spec.shape[:-1] for spec in inputs}
        _expect(len(outer) == 1, where, f"joins tensors whose height and width differ: {sorted(outer)}")


def _check_bounds(where: str, operation: Operation, output: TensorSpec) -> None:
    if isinstance(operation, Conv2d | Linear | Add | AvgPool2d | Clamp):
        low, high = _CODE_RANGE[output.dtype]
        inside = low <= operation.low <= operation.high <= high
        _expect(inside, where, f"clamps to {operation.low}..{operation.high}, expected within {low}..{high}")


def _check_fields(where: str, operation: Operation, inputs: list[TensorSpec]) -> None:
    if isinstance(operation, Conv2d):
        _check_conv2d(where, operation, inputs[0])
    elif isinstance(operation, Linear):
        features = operation.weights.values.shape[1:]
        _expect(
            features == inputs[0].shape,
            where,
            f"has weights for {features} features, reads {inputs[0].shape}",
        )
        _check_weights(where, operation.weights)
    elif isinstance(operation, MaxPool2d | AvgPool2d):
        _check_positive(where, "kernel and stride", (*operation.kernel, *operation.stride))
        _check_padding(where, operation.padding)
        fits = all(
            max(operation.padding[axis], operation.padding[axis + 2]) < operation.kernel[axis] for axis in (0, 1)
        )
        _expect(fits, where, f"pads {operation.padding}, expected less than its kernel {operation.kernel}")
        if isinstance(operation, AvgPool2d):
            _check_requantisation(where, [operation.multiplier], [operation.shift])
    elif isinstance(operation, Concat):
        _check_requantisation(where, operation.multipliers, operation.shifts)
    elif isinstance(operation, Add):
        reach = sum(abs(value) for value in operation.multipliers) * 255 + (1 << max(operation.shift - 1, 0))
        fits = 1 <= operation.shift <= 31 and reach <= _INT32_MAX
        _expect(fits, where, f"needs more than 32 bits: {operation.multipliers} >> {operation.shift}")
    elif isinstance(operation, Pad):
        _check_padding(where, itertools.chain.from_iterable(operation.amounts))
    elif isinstance(operation, Slice):
        _check_positive(where, "steps", operation.steps)
        inside = all(
            0 <= start < stop <= size
            for start, stop, size in zip(operation.starts, operation.stops, inputs[0].shape, strict=True)
        )
        _expect(inside, where, f"takes {operation.starts} to {operation.stops} of {inputs[0].shape}")


def _check_conv2d(where: str, operation: Conv2d, source: TensorSpec) -> None:
    values = operation.weights.values
    _expect(values.ndim == 4, where, f"has weights {values.shape}, expected [O, kh, kw, I / groups]")
    _check_positive(where, "stride, dilation and groups", (*operation.stride, *operation.dilation, operation.groups))
    _check_padding(where, operation.padding)
    channels = values.shape[3] * operation.groups
    _expect(channels == source.shape[2], where, f"has weights for {channels} channels, reads {source.shape}")
    whole = values.shape[0] % operation.groups == 0
    _expect(whole, where, f"has {values.shape[0]} output channels in {operation.groups} groups")
    _check_weights(where, operation.weights)


def _check_weights(where: str, weights: IntegerWeights) -> None:
    values, table = weights.values, weights.table
    _expect(
        values.dtype == np.int16 and values.size > 0,
        where,
        f"has weights of type {values.dtype}, expected int16",
    )
    for name in ("weight_zero", "bias", "multiplier", "shift"):
        array = getattr(weights, name)
        right = array.shape == values.shape[:1] and array.dtype == np.int32
        _expect(right, where, f"has {name} {array.dtype} {array.shape}, expected int32 {values.shape[:1]}")
    _check_requantisation(where, weights.multiplier.tolist(), weights.shift.tolist())
    if table is not None:
        right = table.ndim == 2 and table.shape[1] == 256 and table.dtype == np.int32
        _expect(right, where, f"has a table {table.dtype} {table.shape}, expected int32 [n_w, 256]")
        low, high = int(values.min()) + weights.offset, int(values.max()) + weights.offset
        inside = 0 <= low <= high < len(table)
        _expect(inside, where, f"has weights in rows {low} to {high} of a table of {len(table)} rows")


def _check_requantisation(where: str, multipliers: Iterable[int], shifts: Iterable[int]) -> None:
    for multiplier, shift in zip(multipliers, shifts, strict=True):
        least = 0 if shift == 62 else 2**30  # factors below 2^-32, of a channel without weights: fixed_point
        fits = (multiplier == 0 or least <= multiplier < 2**31) and 1 <= shift <= 62
        _expect(fits, where, f"requantises by {multiplier} >> {shift}, expected 0 or 2^30..2^31-1, shift 1..62")


def _check_positive(where: str, what: str, values: Iterable[int]) -> None:
    values = tuple(values)
    _expect(min(values) >= 1, where, f"has {what} {values}, expected at least 1")


def _check_padding(where: str, values: Iterable[int]) -> None:
    values = tuple(values)
    _expect(min(values) >= 0, where, f"pads by {values}, expected no negative amount")
