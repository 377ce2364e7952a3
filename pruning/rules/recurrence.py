"""Recurrent layers: hidden units, the same ones in every layer and direction, as a layer has one `hidden_size`.

Unit i owns row i of each gate's block of `weight_ih`, `weight_hh` and the biases, column i of `weight_hh`, and
its column in whatever reads it. Inside the operation its past is multiplied by `weight_hh` (and, above the
first layer, its output by `weight_ih`), where no graph edge can be masked, so the columns are.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from pruning.groups import MacTerm
from pruning.rules.context import UNIFORM, Context, argument, operand, place, shape_of, unknown


def recurrence(context: Context, node: fx.Node) -> Any:
    """LSTM, GRU or plain RNN over [L, N, I] or [N, L, I]: (output, last hidden states of each kind)."""
    listed = [entry for entry in argument(node, 2, "params") if isinstance(entry, fx.Node)]
    biased, layers, ways = bool(node.args[3]), argument(node, 4, "num_layers"), 1 + bool(node.args[7])
    per_cell = 4 if biased else 2
    if not str(node.target).endswith(".input") or len(listed) != layers * ways * per_cell:
        return unknown(context, node)  # packed sequences, projections
    hidden = context.axes(listed[1])[1]
    data = context.operand(node)
    positions = shape_of(operand(node, 0).meta["val"])
    steps = positions[0] * positions[1] / context.batch
    coming = data[-1]
    context.end(node, 0, -1)
    for layer in range(layers):
        for way in range(ways):
            first = (layer * ways + way) * per_cell
            _cell(context, listed[first : first + per_cell], coming, hidden)
            if layer:
                context.masked_weights.setdefault(listed[first], set()).add(1)
            rows = context.axes(listed[first])[0]
            context.terms += [MacTerm(node.name, steps, (rows, axis)) for axis in (coming, hidden)]
        coming = hidden.repeat(ways)
    _initial_states(context, node, hidden)
    shapes = [shape_of(value) for value in node.meta["val"]]
    states = [[*context.fixed(shape[:-1], f"states of {place(node)}"), hidden] for shape in shapes[1:]]
    return ([*data[:-1], coming], *states)


def _cell(context: Context, tensors: list[fx.Node], coming: Tensor, hidden: Tensor) -> None:
    """Ties of one layer in one direction: weight_ih [gates * H, I], weight_hh [gates * H, H] and two biases."""
    labels = context.labels
    labels.tie(coming, context.axes(tensors[0])[1])
    labels.tie(hidden, context.axes(tensors[1])[1])
    context.masked_weights.setdefault(tensors[1], set()).add(1)
    for tensor in tensors:
        for rows in context.axes(tensor)[0].reshape(-1, len(hidden)):
            labels.tie(hidden, rows)


def _initial_states(context: Context, node: fx.Node, hidden: Tensor) -> None:
    """States given by the user keep what they are tied to; the zeros a layer makes itself fit any size."""
    given = node.args[1]
    uniform = context.labels.fixed(1, UNIFORM)
    for entry in given if isinstance(given, list | tuple) else (given,):
        assert isinstance(entry, fx.Node)
        axis = context.axes(entry)[-1]
        if not bool((axis == uniform).all()):
            context.labels.tie(hidden, axis)
            context.ends.setdefault(entry, set()).add(len(context.axes(entry)) - 1)
