"""`Lowering`: the quantised graph under construction, which the rules (`approx.rules`) fill operation by operation."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from approx.constant import QuantConstant
from approx.naming import layer_label, part_label, unique
from approx.operation import Operation
from approx.quantizer import Quantizer

EXPORTED_BATCH = 53  # a prime that sizes of networks are hardly multiples of, see `batch_axis`
LARGEST_CONSTANT = 1e4  # beyond are masks, which leave no codes to what they are added to
PREFIX = "op_"  # keeps names of the user's layers apart from attributes of torch's graph module


class Unsupported(Exception):
    """This use of an operation has no quantised form; the message says what about it."""


class Lowering:
    """The graph under construction.

    Attributes:
        graph: the new graph.
        operations: its operations by label.
        images: the new graph's input.
    """

    images: fx.Node

    def __init__(self, tensors: Mapping[str, tuple[str, torch.Tensor]]) -> None:
        self.graph = fx.Graph()
        self.operations: dict[str, Operation] = {}
        self._tensors: dict[str, tuple[str, Any]] = dict(tensors)
        self._trained = {node for node, (_, value) in tensors.items() if isinstance(value, nn.Parameter)}
        self._values: dict[fx.Node, fx.Node] = {}
        self._results: dict[tuple[fx.Node, int], fx.Node] = {}
        self._shared: set[fx.Node] = set()
        self._labels: set[str] = set()

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
        self.define(node, self.put(operation, *(self.value(i) for i in inputs)))

    def begin(self, node: fx.Node, operation: Operation) -> None:
        """Start with the operation that takes the network's input, the exported `node`."""
        self.images = self.graph.placeholder("images")
        self.define(node, self.put(operation, self.images))

    def extend(self, node: fx.Node, operation: Operation) -> None:
        """Append `operation` behind what computes the exported `node` so far."""
        self.define(node, self.put(operation, self.value(node)))

    def put(self, operation: Operation, *inputs: fx.Node) -> fx.Node:
        """Append `operation` on values of the new graph; returns its result there."""
        for step in operation.steps():
            step.label = unique(step.label, self._labels)
            self._labels.add(step.label)
        label = operation.label
        self.operations[label] = operation
        result = self.graph.call_module(f"{PREFIX}{label}", inputs)
        result.meta["label"] = label
        return result

    def define(self, node: fx.Node, value: fx.Node) -> None:
        """The exported `node` is this value of the new graph."""
        self._values[node] = value

    def give(self, node: fx.Node, index: int, value: fx.Node) -> None:
        """One of several results of an exported node is this value of the new graph."""
        self._results[node, index] = value

    def take(self, node: fx.Node, whole: fx.Node, index: int) -> None:
        """The exported `node` is one of several results of another."""
        if (whole, index) not in self._results:
            raise Unsupported(f"it takes result {index} of {whole.target}")
        self.define(node, self._results[whole, index])

    def quantizer(self, value: fx.Node) -> Quantizer:
        """The quantizer of a value of the new graph."""
        return self.operations[value.meta["label"]].output

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
        if not isinstance(node, fx.Node) or not self.is_constant(node):
            raise Unsupported(f"its {what} is computed, expected a parameter")
        name, value = self._tensors[node.name]
        return name, value.detach().float()

    def is_constant(self, node: fx.Node) -> bool:
        """Whether an exported node is a parameter, or computed from nothing but parameters."""
        return node.name in self._tensors

    def fold(self, node: fx.Node) -> None:
        """Compute an exported node, all of whose inputs are constants, once and for all, for the exported batch.

        What is made of one parameter keeps its name, and is trained where that is.
        """

        def value(argument: fx.Node) -> Any:
            return self._tensors[argument.name][1] if self.is_constant(argument) else argument.meta["val"].node.hint

        args, kwargs = fx.map_arg((node.args, node.kwargs), value)
        inputs = [i for i in node.all_input_nodes if self.is_constant(i)]
        name = self._tensors[inputs[0].name][0] if len(inputs) == 1 else part_label(node, node.name)
        with torch.no_grad():
            self.hold(node, name, node.target(*args, **kwargs))  # type: ignore[operator]
        if any(self.is_trained(i) for i in inputs):
            self._trained.add(node.name)

    def hold(self, node: fx.Node, name: str, value: Any) -> None:
        """The exported `node` is a constant: a tensor, or several."""
        self._tensors[node.name] = name, value

    def is_trained(self, node: fx.Node) -> bool:
        """Whether an exported node is a parameter, or made of parameters."""
        return node.name in self._trained

    def constant(self, node: fx.Node, like: fx.Node) -> fx.Node:
        """A constant as an activation that can be added to or multiplied with the exported `like`."""
        name, value = self.tensor(node, "operand")
        axis, axes = batch_axis(like), len(shape(like))
        value = value.reshape([1] * (axes - value.dim()) + list(value.shape))
        if not value.abs().max() < LARGEST_CONSTANT:
            raise Unsupported(
                f"constant {name!r} holds {value.min():.3g} .. {value.max():.3g}, too far apart for 8 bits; give a "
                "mask to scaled_dot_product_attention"
            )
        if value.shape[axis] == EXPORTED_BATCH and (value == value.narrow(axis, 0, 1)).all():
            value = value.narrow(axis, 0, 1)
        if value.shape[axis] != 1 or shape(like)[axis] != EXPORTED_BATCH:
            raise Unsupported(f"constant {name!r} of shape {list(value.shape)} is not the same for every image")
        parameter = nn.Parameter(value.clone(), requires_grad=self.is_trained(node))
        return self.put(QuantConstant(layer_label(name), Quantizer(), parameter, axis), self.images)


def shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of an exported node's value for the exported batch."""
    return tuple(s.node.hint if isinstance(s, torch.SymInt) else s for s in node.meta["val"].shape)


def batch_axis(node: fx.Node) -> int:
    """The axis of an exported node's value that holds the images, alone or together with something else.

    It has a symbolic size. Only a model that asks for `len(images)` is exported for a fixed number of them: then it is
    the axis whose size is a multiple of that prime number (`capture` tries the network with another number).

    Raises:
        Unsupported: there is no such axis, or more than one.
    """
    sizes = node.meta["val"].shape
    axes = [axis for axis, size in enumerate(sizes) if isinstance(size, torch.SymInt)]
    axes = axes or [axis for axis, size in enumerate(sizes) if size % EXPORTED_BATCH == 0]
    if len(axes) != 1:
        raise Unsupported(f"{len(axes)} axes of its shape {shown(node)} hold images, expected one")
    return axes[0]


def shown(node: fx.Node) -> str:
    """Shape of an exported node's value for a message: "[N, 65, 192]", "[65, 3N, 64]"."""

    def text(size: int | torch.SymInt) -> str:
        if isinstance(size, int):
            return str(size)
        count = size.node.hint // EXPORTED_BATCH
        return "N" if count == 1 else f"{count}N"

    return f"[{', '.join(map(text, node.meta['val'].shape))}]"


def open_shape(node: fx.Node) -> list[int]:
    """Shape of an exported node's value, -1 where the images are."""
    sizes = list(shape(node))
    sizes[batch_axis(node)] = -1
    return sizes


def arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    bound = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    bound.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return bound | dict(node.kwargs)


def each_axis(values: Any, axes: int) -> tuple[int, ...]:
    """An argument that ATen gives as one integer, as a list of one for all axes, or as a list of one for each."""
    values = (values,) if isinstance(values, int) else tuple(values)
    return values * axes if len(values) == 1 else values
