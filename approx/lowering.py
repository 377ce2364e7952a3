"""`Lowering`: the quantised graph under construction, which the rules (`approx.rules`) fill operation by operation."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from approx.naming import unique
from approx.operation import Operation
from approx.quantizer import Quantizer

Pair = tuple[int, int]
PREFIX = "op_"  # keeps names of the user's layers apart from attributes of torch's graph module


class Unsupported(Exception):
    """This use of an operation has no quantised form; the message says what about it."""


class Lowering:
    """The graph under construction.

    Attributes:
        graph: the new graph.
        operations: its operations by label.
    """

    def __init__(self, tensors: Mapping[str, tuple[str, torch.Tensor]]) -> None:
        self.graph = fx.Graph()
        self.operations: dict[str, Operation] = {}
        self._tensors = tensors
        self._values: dict[fx.Node, fx.Node] = {}
        self._shared: set[fx.Node] = set()

    def value(self, node: fx.Node) -> fx.Node:
        """The new graph's node of an exported node."""
        if node not in self._values:
            raise Unsupported(f"its input {node.name} is not an activation")
        return self._values[node]

    def operation(self, node: fx.Node) -> Operation:
        """The operation that writes an exported node's value."""
        return self.operations[self.value(node).meta["label"]]

    def source(self, node: Any) -> Quantizer:
        """The quantizer of an exported node's value."""
        if not isinstance(node, fx.Node):
            raise Unsupported(f"operand {node!r} is a constant")
        return self.operation(node).output

    def add(self, node: fx.Node, operation: Operation, inputs: Sequence[fx.Node]) -> None:
        """Append `operation`, which computes the exported `node` from exported `inputs`."""
        self._append(node, operation, tuple(self.value(i) for i in inputs))

    def begin(self, node: fx.Node, operation: Operation) -> None:
        """Start with the operation that takes the network's input, the exported `node`."""
        self._append(node, operation, (self.graph.placeholder("images"),))

    def extend(self, node: fx.Node, operation: Operation) -> None:
        """Append `operation` behind what computes the exported `node` so far."""
        self._append(node, operation, (self.value(node),))

    def _append(self, node: fx.Node, operation: Operation, inputs: tuple[fx.Node, ...]) -> None:
        label = operation.label = unique(operation.label, self.operations)
        self.operations[label] = operation
        self._values[node] = self.graph.call_module(f"{PREFIX}{label}", inputs)
        self._values[node].meta["label"] = label

    def alias(self, node: fx.Node, of: fx.Node) -> None:
        """The exported `node` is the same value as `of`."""
        self._values[node] = self.value(of)
        if not self.sole_reader(of):
            self._shared.add(node)

    def sole_reader(self, node: fx.Node) -> bool:
        """Whether only one operation reads the value of an exported node."""
        return len(node.users) == 1 and node not in self._shared

    def tensor(self, node: Any, what: str) -> tuple[str, torch.Tensor]:
        """Name and value of a parameter or constant."""
        if not isinstance(node, fx.Node) or node.name not in self._tensors:
            raise Unsupported(f"its {what} is computed, expected a parameter")
        name, value = self._tensors[node.name]
        return name, value.detach().float()


def shape(node: fx.Node) -> tuple[int, ...]:
    """Static shape of an exported node's value, batch included."""
    return tuple(int(s) for s in node.meta["val"].shape)


def arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    bound = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    bound.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return bound | dict(node.kwargs)


def pair(values: Any) -> Pair:
    """An argument that ATen gives as one integer, or as a list of one or two."""
    values = [values] if isinstance(values, int) else list(values)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])
