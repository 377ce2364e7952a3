"""Operations that join two or more activations, or an activation and a constant."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import fx

from approx.addition import QuantAdd
from approx.lookup import QuantLookup
from approx.lowering import Lowering, Unsupported, arguments, batch_axis, open_shape, shape, shown
from approx.matmul import QuantMatmul
from approx.move import QuantMove
from approx.operations import QuantConcat
from approx.product import QuantProduct
from approx.quantizer import Quantizer
from approx.rules.functions import add_lookup


def number(low: Lowering, argument: Any) -> float | None:
    """The value of an argument that is one number, else None."""
    if isinstance(argument, fx.Node) and low.is_constant(argument):
        value = low.tensor(argument, "operand")[1]
        return value.item() if value.numel() == 1 else None
    return argument if isinstance(argument, int | float) else None


def operand(low: Lowering, argument: fx.Node, node: fx.Node) -> fx.Node:
    """The value of an argument of `node`, a constant among them."""
    return low.constant(argument, node) if low.is_constant(argument) else low.value(argument)


def _with_number(low: Lowering, node: fx.Node) -> bool:
    """Lowers arithmetic of an activation and a number, or says that it is not that."""
    sides = list(node.args[:2])
    numbers = [number(low, side) for side in sides]
    if numbers[0] is None and numbers[1] is None:
        return False
    place = 0 if numbers[0] is None else 1  # of the activation
    known, x = numbers[1 - place], sides[place]
    assert isinstance(x, fx.Node) and known is not None
    if shape(x) != shape(node):
        return False  # the number adds axes
    function: Any = getattr(torch, str(node.target).split(".")[1].removesuffix("_"))
    side = partial(_right, function, known) if place == 0 else partial(_left, function, known)
    add_lookup(low, node, x, partial(side, **node.kwargs))
    return True


def _right(function: Any, known: float, x: torch.Tensor, **named: Any) -> torch.Tensor:
    result: torch.Tensor = function(x, known, **named)
    return result


def _left(function: Any, known: float, x: torch.Tensor, **named: Any) -> torch.Tensor:
    result: torch.Tensor = function(torch.full_like(x, known), x, **named)
    return result


def add(low: Lowering, node: fx.Node) -> None:
    """Sum; the smaller operand is stretched."""
    if not _with_number(low, node):
        a = arguments(node)
        if a["alpha"] != 1:
            raise Unsupported(f"alpha is {a['alpha']}, expected 1")
        left, right = (_stretched(low, a[side], node) for side in ("self", "other"))
        _sum(low, node, left, right)


def subtract(low: Lowering, node: fx.Node) -> None:
    """Difference: the sum with the negative."""
    if not _with_number(low, node):
        a = arguments(node)
        if a["alpha"] != 1:
            raise Unsupported(f"alpha is {a['alpha']}, expected 1")
        left, right = (_stretched(low, a[side], node) for side in ("self", "other"))
        negative = QuantLookup(f"{node.name}_negative", low.quantizer(right), Quantizer(), torch.neg)
        _sum(low, node, left, low.put(negative, right))


def _sum(low: Lowering, node: fx.Node, left: fx.Node, right: fx.Node) -> None:
    sources = low.quantizer(left), low.quantizer(right)
    low.define(node, low.put(QuantAdd(node.name, sources, Quantizer()), left, right))


def _stretched(low: Lowering, argument: fx.Node, node: fx.Node) -> fx.Node:
    """The value of an argument in the shape of the result."""
    value, target = operand(low, argument, node), open_shape(node)
    if shape(argument) == shape(node):
        return value
    return low.put(QuantMove(f"{argument.name}_stretched", low.quantizer(value), lambda v: v.expand(*target)), value)


def _rows_alike(low: Lowering, argument: fx.Node, node: fx.Node) -> fx.Node:
    """The value of an argument, stretched where the first axis is not that of the result: `in_parts` splits there."""
    sizes, wanted = shape(argument), shape(node)
    alike = len(sizes) == len(wanted) and sizes[0] == wanted[0]
    if alike or (low.is_constant(argument) and batch_axis(node) == 0):
        return operand(low, argument, node)
    return _stretched(low, argument, node)


def multiply(low: Lowering, node: fx.Node) -> None:
    """Product or quotient value by value; a positive number goes into a matrix product just before it."""
    left, right = node.args[:2]
    divides, factor = "div" in str(node.target), number(low, right)
    if factor is not None and factor > 0 and isinstance(left, fx.Node) and low.sole_reader(left):
        producer = low.operation(left)
        if isinstance(producer, QuantMatmul):
            producer.factor *= 1 / factor if divides else factor
            return low.alias(node, left)
    if _with_number(low, node):
        return None
    if divides:
        raise Unsupported("it divides by an activation")
    assert isinstance(left, fx.Node) and isinstance(right, fx.Node)
    values = _rows_alike(low, left, node), _rows_alike(low, right, node)
    sources = tuple(low.quantizer(v) for v in values)
    return low.define(node, low.put(QuantProduct(node.name, sources, Quantizer()), *values))


def power(low: Lowering, node: fx.Node) -> None:
    """A constant power."""
    if not _with_number(low, node):
        raise Unsupported("its exponent is an activation")


def cat(low: Lowering, node: fx.Node) -> None:
    """Join on any axis but the images'."""
    a = arguments(node)
    axes = len(shape(node))
    axis = a["dim"] % axes
    if axis == batch_axis(node):
        raise Unsupported(f"it joins axis {axis} of {shown(node)}, which holds the images")
    low.define(node, join(low, node.name, [operand(low, part, node) for part in a["tensors"]], axis, axes))


def join(low: Lowering, label: str, parts: Sequence[fx.Node], axis: int, axes: int) -> fx.Node:
    """Values of the new graph joined on one of their axes; one alone stays what it is."""
    if len(parts) == 1:
        return parts[0]
    order = list(range(axes))
    order[1], order[axis] = order[axis], order[1]

    def exchanged(value: fx.Node) -> fx.Node:
        """With the axis to join second, or back in its place."""
        name = f"{value.meta['label']}_exchanged"
        move = QuantMove(name, low.quantizer(value), lambda values: values.permute(*order))
        return value if axis == 1 else low.put(move, value)

    parts = [exchanged(part) for part in parts]
    joined = QuantConcat(label, [low.quantizer(part) for part in parts], Quantizer())
    return exchanged(low.put(joined, *parts))


RULES = {
    **dict.fromkeys(("add.Tensor", "add_.Tensor", "add.Scalar"), add),
    **dict.fromkeys(("sub.Tensor", "sub_.Tensor", "sub.Scalar", "rsub.Scalar"), subtract),
    **dict.fromkeys(("mul.Tensor", "mul_.Tensor", "mul.Scalar", "div.Tensor", "div_.Tensor", "div.Scalar"), multiply),
    "pow.Tensor_Scalar": power,
    "cat.default": cat,
}
