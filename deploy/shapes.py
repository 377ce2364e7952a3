"""Shapes of the program's operations: what each one writes, given what it reads."""

from collections.abc import Callable

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
)

Shape = tuple[int, ...]


def window_count(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Positions of a sliding window along one axis: floor((before + size + after - extent) / stride) + 1."""
    return (before + size + after - dilation * (kernel - 1) - 1) // stride + 1


def _window(
    shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    top, left, bottom, right = padding
    return (
        window_count(shape[0], kernel[0], stride[0], dilation[0], top, bottom),
        window_count(shape[1], kernel[1], stride[1], dilation[1], left, right),
    )


def _conv2d(op: Conv2d, shapes: list[Shape]) -> Shape:
    out, *kernel, _ = op.weights.values.shape
    return (*_window(shapes[0], (kernel[0], kernel[1]), op.stride, op.padding, op.dilation), out)


def _linear(op: Linear, shapes: list[Shape]) -> Shape:
    return (op.weights.values.shape[0],)


def _same(op: Operation, shapes: list[Shape]) -> Shape:
    return shapes[0]


def _pool(op: MaxPool2d | AvgPool2d, shapes: list[Shape]) -> Shape:
    return (*_window(shapes[0], op.kernel, op.stride, op.padding), shapes[0][2])


def _pad(op: Pad, shapes: list[Shape]) -> Shape:
    return tuple(before + size + after for size, (before, after) in zip(shapes[0], op.amounts, strict=True))


def _slice(op: Slice, shapes: list[Shape]) -> Shape:
    return tuple(len(range(*bounds)) for bounds in zip(op.starts, op.stops, op.steps, strict=True))


def _concat(op: Concat, shapes: list[Shape]) -> Shape:
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _flatten(op: Flatten, shapes: list[Shape]) -> Shape:
    size = 1
    for extent in shapes[0]:
        size *= extent
    return (size,)


_RULES: dict[type[Operation], Callable[..., Shape]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    Add: _same,
    MaxPool2d: _pool,
    AvgPool2d: _pool,
    Clamp: _same,
    Pad: _pad,
    Slice: _slice,
    Concat: _concat,
    Flatten: _flatten,
}


def output_shape(operation: Operation, shapes: list[Shape]) -> Shape:
    """Shape (without the batch) that an operation writes.

    Args:
        operation: any of `deploy.program.OPERATIONS`.
        shapes: of its inputs, in order.
    """
    return _RULES[type(operation)](operation, shapes)
