"""`einsum`: the equation says which axes are one, which end in a sum, and which pass."""

from __future__ import annotations

from torch import Tensor, fx

from pruning.groups import MacTerm
from pruning.rules.context import Axes, Context, argument, shape_of, unknown


def einsum(context: Context, node: fx.Node) -> Axes:
    """Axes with one letter are tied; letters missing from the result are summed over, so channels end there.

    At most two operands, without ellipsis, diagonal or broadcasting; any other equation freezes what it touches.
    """
    listed = argument(node, 1, "tensors")
    parsed = _parsed(str(node.args[0]), len(listed))
    tables = [context.axes(entry) for entry in listed]
    if parsed is None or any(len(term) != len(axes) for term, axes in zip(parsed[0], tables, strict=True)):
        return _refused(context, node)
    inputs, output = parsed
    letters: dict[str, Tensor] = {}
    for term, axes in zip(inputs, tables, strict=True):
        for letter, axis in zip(term, axes, strict=True):
            if letter in letters and len(letters[letter]) != len(axis):
                return _refused(context, node)
            letters[letter] = context.labels.merged(letters.get(letter, axis), axis)
    for entry, term in zip(listed, inputs, strict=True):
        ended = {position for position, letter in enumerate(term) if letter not in output}
        context.ends.setdefault(entry, set()).update(ended)
    if len(inputs) == 2 and _multiplied(inputs, output):
        factors = tuple(letters[letter] for letter in _multiplied(inputs, output))
        context.terms.append(MacTerm(node.name, 1 / context.batch, factors))
    return [letters[letter] for letter in output]


def _parsed(equation: str, operands: int) -> tuple[list[str], str] | None:
    """(letters of each operand, letters of the result), or None for an equation that is not followed."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow:
        output = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    plain = "." not in equation and all(len(set(term)) == len(term) for term in inputs)
    return (inputs, output) if plain and operands <= 2 else None


def _multiplied(inputs: list[str], output: str) -> list[str]:
    """Letters of the matrix product: those in one operand only are summed before it; none without a shared sum."""
    shared = [
        letter for letter in dict.fromkeys("".join(inputs)) if letter in output or all(letter in i for i in inputs)
    ]
    return shared if any(letter not in output for letter in shared) else []


def _refused(context: Context, node: fx.Node) -> Axes:
    result: Axes = unknown(context, node)
    assert all(len(axis) == size for axis, size in zip(result, shape_of(node.meta["val"]), strict=True))
    return result
