"""C calls of the operations without weights, one small function each."""

from collections.abc import Callable

from deploy.c.structs import codes, window
from deploy.c.writer import Writer, initialiser
from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Concat,
    Flatten,
    MaxPool2d,
    Operation,
    Pad,
    Slice,
    TensorSpec,
)

Specs = list[TensorSpec]


def _codes(writer: Writer, name: str, spec: TensorSpec, low: int, high: int, **changes: int) -> str:
    writer.constants.append(initialiser("pj_codes", f"{name}_codes", **{**codes(spec, low, high), **changes}))
    return f"&{name}_codes"


def _window(writer: Writer, name: str, op: MaxPool2d | AvgPool2d, source: TensorSpec, target: TensorSpec) -> str:
    writer.constants.append(initialiser("pj_window", f"{name}_window", **window(op, source, target)))
    return f"&{name}_window"


def _add(writer: Writer, op: Add, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str) -> list[str]:
    writer.kernel("add")
    terms = ", ".join(f"{m}, {spec.zero_point}" for m, spec in zip(op.multipliers, specs, strict=True))
    bounds = _codes(writer, name, target, op.low, op.high)
    return [f"pj_add({x[0]}, {x[1]}, {y}, {target.size}, {terms}, {op.shift}, {bounds});"]


def _max_pool(
    writer: Writer, op: MaxPool2d, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str
) -> list[str]:
    writer.kernel("max_pool")
    return [f"pj_max_pool({x[0]}, {y}, {_window(writer, name, op, specs[0], target)});"]


def _avg_pool(
    writer: Writer, op: AvgPool2d, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str
) -> list[str]:
    writer.kernel("avg_pool")
    geometry = _window(writer, name, op, specs[0], target)
    bounds = _codes(writer, name, target, op.low, op.high)
    return [f"pj_avg_pool({x[0]}, {y}, {geometry}, {op.multiplier}, {op.shift}, {bounds});"]


def _clamp(writer: Writer, op: Clamp, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str) -> list[str]:
    writer.kernel("clamp")
    return [f"pj_clamp({x[0]}, {y}, {target.size}, {_codes(writer, name, target, op.low, op.high, zero=0)});"]


def _pad(writer: Writer, op: Pad, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str) -> list[str]:
    writer.kernel("pad")
    shape = ", ".join(map(str, specs[0].shape))
    before = ", ".join(str(amount[0]) for amount in op.amounts)
    outer = f"{target.shape[1]}, {target.shape[2]}, {target.size}"
    return [f"pj_pad({x[0]}, {y}, {shape}, {before}, {outer}, {specs[0].zero_point});"]


def _slice(writer: Writer, op: Slice, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str) -> list[str]:
    writer.kernel("slice")
    _, width, channels = specs[0].shape
    strides = (width * channels, channels, 1)
    first = sum(start * stride for start, stride in zip(op.starts, strides, strict=True))
    steps = ", ".join(str(step * stride) for step, stride in zip(op.steps, strides, strict=True))
    return [f"pj_slice({x[0]} + {first}, {y}, {', '.join(map(str, target.shape))}, {steps});"]


def _concat(writer: Writer, op: Concat, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str) -> list[str]:
    writer.kernel("concat")
    bounds = _codes(writer, name, target, 0, 255, wide=0)
    calls, first, channels = [], 0, target.shape[-1]
    for source, spec, multiplier, shift in zip(x, specs, op.multipliers, op.shifts, strict=True):
        shape = f"{target.size // channels}, {spec.shape[-1]}, {channels}"
        scaling = f"{spec.zero_point}, {multiplier}, {shift}"
        calls.append(f"pj_concat({source}, {y} + {first}, {shape}, {scaling}, {bounds});")
        first += spec.shape[-1]
    return calls


def _flatten(
    writer: Writer, op: Flatten, name: str, specs: Specs, target: TensorSpec, x: list[str], y: str
) -> list[str]:
    writer.kernel("flatten")
    channels = specs[0].shape[-1]
    return [f"pj_flatten({x[0]}, {y}, {target.size // channels}, {channels});"]


STEPS: dict[type[Operation], Callable[..., list[str]]] = {
    Add: _add,
    MaxPool2d: _max_pool,
    AvgPool2d: _avg_pool,
    Clamp: _clamp,
    Pad: _pad,
    Slice: _slice,
    Concat: _concat,
    Flatten: _flatten,
}
