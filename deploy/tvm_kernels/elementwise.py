"""Operations without weights as TE compute, vectorised over channels."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from approx.tvm_adapter import tvm_submodule
from deploy.program import Add, Clamp, Concat, Flatten, Pad, Slice, TensorSpec
from deploy.tvm_kernels.call import KernelCall, scalars
from deploy.tvm_kernels.geometry import largest_divisor

Specs = Sequence[TensorSpec]
Expression = Callable[..., Any]
_LANES = 64


def _call(
    name: str,
    static: Any,
    specs: Specs,
    out: TensorSpec,
    batch: int,
    numbers: tuple[int, ...],
    value: Expression,
    period: int = 0,
) -> KernelCall:
    """A kernel that computes every output element by `value(inputs, numbers, *index)`.

    `period`: vectors start at multiples of a divisor of it (all output channels unless given).
    """
    lanes = largest_divisor(period or out.shape[-1], _LANES)
    shapes = tuple(spec.shape for spec in specs)
    key = (name, static, shapes, out.shape, out.dtype, batch, len(numbers))

    def build() -> Any:
        te = tvm_submodule("te")
        inputs = [
            te.placeholder((batch, *shape), "uint8", name=f"codes{position}") for position, shape in enumerate(shapes)
        ]
        values = te.placeholder((len(numbers),), "int32", name="numbers")
        result = te.compute(
            (batch, *out.shape), lambda *index: value(inputs, values, *index).astype(out.dtype), name="result"
        )
        return _vectorised(te.create_prim_func([*inputs, values, result]), lanes)

    return KernelCall(key, build, (scalars(*numbers),))


def _vectorised(function: Any, lanes: int) -> Any:
    schedule = tvm_submodule("s_tir").Schedule(function)
    *_, channel = schedule.get_loops(schedule.get_sblock("result"))
    _, lane = schedule.split(channel, [None, lanes])
    schedule.vectorize(lane)
    return schedule.mod["main"]


def _rescaled(code: Any, numbers: Any, first: int, output_zero: Any) -> Any:
    """Rescaled code, int64, unclamped; three numbers from `first`: zero point, multiplier, shift."""
    zero, multiplier, shift = (numbers[first + position].astype("int64") for position in range(3))
    one = tvm_submodule("tirx").const(1, "int64")
    return output_zero.astype("int64") + (((code.astype("int64") - zero) * multiplier + (one << (shift - 1))) >> shift)


def _clamped(value: Any, low: Any, high: Any) -> Any:
    tirx = tvm_submodule("tirx")
    return tirx.max(tirx.min(value, high), low)


def add_call(operation: Add, specs: Specs, out: TensorSpec, batch: int) -> KernelCall:
    """Add, in 32 bits as its contract allows."""
    numbers = (
        *operation.multipliers,
        *(spec.zero_point for spec in specs),
        operation.shift,
        out.zero_point,
        operation.low,
        operation.high,
    )

    def value(inputs: list[Any], n: Any, *index: Any) -> Any:
        left, right = (
            (side[index].astype("int32") - n[2 + position]) * n[position] for position, side in enumerate(inputs)
        )
        half = tvm_submodule("tirx").const(1, "int32") << (n[4] - 1)
        return _clamped(n[5] + ((left + right + half) >> n[4]), n[6], n[7])

    return _call("add", None, specs, out, batch, numbers, value)


def clamp_call(operation: Clamp, specs: Specs, out: TensorSpec, batch: int) -> KernelCall:
    """Clamp of codes."""
    return _call(
        "clamp",
        None,
        specs,
        out,
        batch,
        (operation.low, operation.high),
        lambda inputs, n, *index: _clamped(inputs[0][index].astype("int32"), n[0], n[1]),
    )


def pad_call(operation: Pad, specs: Specs, out: TensorSpec, batch: int) -> KernelCall:
    """Pad with the zero-point code."""
    before = [amounts[0] for amounts in operation.amounts]
    shape = specs[0].shape

    def value(inputs: list[Any], n: Any, sample: Any, *index: Any) -> Any:
        tirx = tvm_submodule("tirx")
        place = [position - start for position, start in zip(index, before, strict=True)]
        inside = tirx.all(*(p >= 0 for p in place), *(p < extent for p, extent in zip(place, shape, strict=True)))
        return tirx.if_then_else(inside, inputs[0][(sample, *place)], n[0].astype("uint8"))

    return _call("pad", operation.amounts, specs, out, batch, (specs[0].zero_point,), value)


def slice_call(operation: Slice, specs: Specs, out: TensorSpec, batch: int) -> KernelCall:
    """Slice by constant starts and steps."""
    starts, steps = operation.starts, operation.steps

    def value(inputs: list[Any], n: Any, sample: Any, *index: Any) -> Any:
        place = (start + p * step for p, start, step in zip(index, starts, steps, strict=True))
        return inputs[0][(sample, *place)]

    return _call("slice", (starts, steps), specs, out, batch, (0,), value)


def flatten_call(operation: Flatten, specs: Specs, out: TensorSpec, batch: int) -> KernelCall:
    """Flatten in channel-first order."""

    def value(inputs: list[Any], n: Any, sample: Any, feature: Any) -> Any:
        if len(specs[0].shape) == 1:
            return inputs[0][sample, feature]
        _, width, _ = specs[0].shape
        area = specs[0].shape[0] * width
        return inputs[0][sample, feature % area // width, feature % width, feature // area]

    return _call("flatten", None, specs, out, batch, (0,), value)


def concat_call(operation: Concat, specs: Specs, out: TensorSpec, batch: int) -> KernelCall:
    """Concat on channels; vectors never cross from one input to the next."""
    channels = [spec.shape[-1] for spec in specs]
    triples = zip((spec.zero_point for spec in specs), operation.multipliers, operation.shifts, strict=True)
    numbers = (out.zero_point, *(number for triple in triples for number in triple))
    starts = [sum(channels[:position]) for position in range(len(channels))]

    def value(inputs: list[Any], n: Any, *index: Any) -> Any:
        tirx = tvm_submodule("tirx")
        *outer, channel = index

        def part(position: int) -> Any:
            code = inputs[position][(*outer, channel - starts[position])]
            rescaled = _rescaled(code, n, 1 + 3 * position, n[0])
            return tirx.max(tirx.min(rescaled, tirx.const(255, "int64")), tirx.const(0, "int64"))

        result = part(len(channels) - 1)
        for position in range(len(channels) - 2, -1, -1):
            result = tirx.if_then_else(channel < starts[position + 1], part(position), result)
        return result

    return _call("concat", None, specs, out, batch, numbers, value, math.gcd(*channels))
