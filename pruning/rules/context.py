"""What every axis rule works with: the labels so far, and small readers of graph nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

from pruning.groups import MacTerm
from pruning.labels import Labels

Axes = list[Tensor]

UNIFORM = "constant of a size written out in the network's code"
"""Reason on an axis whose positions all hold the same: it limits nothing that it is combined with element-wise."""


@dataclass(eq=False)
class Context:
    """Labels of everything computed so far, and what the rules record beside labels.

    Attributes:
        labels: the atoms and their ties.
        batch: number of examples in the traced batch.
        env: node -> labels of its axes, or a tuple of those for an operation with several results.
        terms: multiply-accumulates, with labelled axes.
        whole_groups: weight -> number of groups of its layer, where a unit is a whole group.
        ends: tensor -> its axes that some operation sums over, so that channels end there.
        masked_weights: parameter -> its axes to mask, where an operation sums over channels out of sight.
        readings: operation -> which of its possible readings to take, 0 if absent; see `read`.
        forks: operation -> (number of its readings, the axis it divides).
    """

    labels: Labels
    batch: int
    env: dict[fx.Node, Any] = field(default_factory=dict)
    terms: list[MacTerm] = field(default_factory=list)
    whole_groups: dict[fx.Node, int] = field(default_factory=dict)
    ends: dict[fx.Node, set[int]] = field(default_factory=dict)
    masked_weights: dict[fx.Node, set[int]] = field(default_factory=dict)
    readings: Mapping[str, int] = field(default_factory=dict)
    forks: dict[fx.Node, tuple[int, Tensor]] = field(default_factory=dict)

    def axes(self, node: fx.Node) -> Axes:
        """Labels of a tensor-valued node, one int64 [size] per axis."""
        axes: Axes = self.env[node]
        return axes

    def operand(self, node: fx.Node, index: int = 0) -> Axes:
        """Labels of the operand at a position; a copy of the list, so a rule may edit it."""
        return list(self.axes(operand(node, index)))

    def operands(self, node: fx.Node) -> list[Axes]:
        """Labels of every operand that is a single tensor."""
        found = (self.env.get(entry) for entry in node.all_input_nodes)
        return [axes for axes in found if isinstance(axes, list)]

    def end(self, node: fx.Node, index: int, axis: int) -> None:
        """Record that the operation sums over an axis of the operand at a position."""
        found = operand(node, index)
        self.ends.setdefault(found, set()).add(axis % len(self.axes(found)))

    def fixed(self, shape: tuple[int, ...], reason: str) -> Axes:
        """Labels of a tensor none of whose positions can go."""
        return [self.labels.fixed(size, reason) for size in shape]

    def settled(self, axis: Tensor, reason: str) -> Tensor:
        """The labels of an axis whose positions may differ from now on, even if they were all the same."""
        uniform = bool((axis == self.labels.fixed(1, UNIFORM)).all())
        return self.labels.fixed(len(axis), reason) if uniform else axis

    def read(self, node: fx.Node, axis: Tensor, count: int) -> int:
        """Which reading of an operation to take, of `count` that are all sound for the traced graph.

        Dividing an axis of channels has several: the 12 of `view(n, 3, 4)` may stay 3 parts of fewer channels,
        or become fewer parts of 4. Only the user's code knows which of them it can do, so the first is taken
        until a trial cut refutes it (`pruning.probe`).
        """
        self.forks[node] = (count, axis)
        return min(self.readings.get(node.name, 0), count - 1)

    def freeze(self, node: fx.Node, reason: str) -> None:
        """Freeze every axis of every operand of `node`."""
        for entry in node.all_input_nodes:
            value = self.env.get(entry)
            for axes in value if isinstance(value, tuple) else (value,):
                for axis in axes or ():
                    self.labels.freeze(axis, reason)


Rule = Callable[[Context, fx.Node], Any]
"""(labels so far, operation) -> labels of its result; `None` where the result has no axes."""


def operand(node: fx.Node, index: int) -> fx.Node:
    """The operand at a position, which must be a tensor."""
    found = node.args[index]
    assert isinstance(found, fx.Node)
    return found


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument of an operation, given by position or by name."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def shape_of(value: Any) -> tuple[int, ...]:
    """Concrete shape of a traced tensor; a dynamic size counts as its example's size."""
    return tuple(s if isinstance(s, int) else int(s.node.hint) for s in value.shape)


def operation(node: fx.Node) -> str:
    """Name of an operation without namespace and overload: `conv2d`."""
    target = str(node.target)
    return target.split(".")[1] if target.startswith("aten.") else getattr(node.target, "__name__", target)


def place(node: fx.Node) -> str:
    """The operation and the layer of the user's network that called it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    layer = stack[-1][0].removeprefix("L['self'].") if stack else ""
    return f"{str(node.target).removesuffix('.default')} in {layer or 'the network itself'}"


def unknown(context: Context, node: fx.Node) -> Any:
    """No rule: every channel that gets here is frozen, and the result has no channels."""
    made_here = not any(entry in context.env for entry in node.all_input_nodes)
    reason = f"constant made by {place(node)}" if made_here else f"no rule for {place(node)}"
    context.freeze(node, reason)
    value = node.meta.get("val")
    if isinstance(value, Tensor):
        return context.fixed(shape_of(value), reason)
    if isinstance(value, tuple | list):
        return tuple(context.fixed(shape_of(v), reason) if isinstance(v, Tensor) else None for v in value)
    return None
