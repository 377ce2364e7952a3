"""Recurrent layers: every layer and direction becomes one operation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from approx.lowering import Lowering, Unsupported, arguments, batch_axis, shape
from approx.move import QuantMove
from approx.naming import module_path
from approx.recurrent import Named, QuantGRU, QuantLSTM, QuantRecurrent
from approx.rules.joining import join


def lstm(low: Lowering, node: fx.Node) -> None:
    """LSTM of any number of layers and directions."""
    _recurrent(low, node, QuantLSTM, arguments(node)["hx"])


def gru(low: Lowering, node: fx.Node) -> None:
    """GRU of any number of layers and directions."""
    _recurrent(low, node, QuantGRU, [arguments(node)["hx"]])


def _recurrent(low: Lowering, node: fx.Node, kind: type[QuantRecurrent], start: Sequence[fx.Node]) -> None:
    """Results 0 (all hidden states) and 1 (the last ones) of an exported LSTM or GRU."""
    a = arguments(node)
    x, directions = a["input"], 1 + a["bidirectional"]
    names = _of_cells(low, a, directions)
    if batch_axis(x) != (0 if a["batch_first"] else 1) or len(shape(x)) != 3 or not all(_zero(low, s) for s in start):
        raise Unsupported("it expects a batch of sequences and zero states to begin with")
    path = module_path(node) or node.name
    value = low.value(x) if a["batch_first"] else _turned(low, low.value(x), (1, 0, 2))
    last = []
    for layer in range(a["num_layers"]):
        parts = []
        for backwards in range(directions):
            label = f"{path}.l{layer}" + "_reverse" * backwards
            named = names[layer * directions + backwards]
            parts.append(low.put(kind(label, low.quantizer(value), named, bool(backwards)), value))
            last.append(_step(low, parts[-1], 0 if backwards else -1))
        value = join(low, f"{path}.l{layer}_both", parts, 2, 3)
    low.give(node, 0, value if a["batch_first"] else _turned(low, value, (1, 0, 2)))
    low.give(node, 1, _turned(low, join(low, f"{path}.last", last, 1, 3), (1, 0, 2)))


def _of_cells(low: Lowering, a: dict[str, Any], directions: int) -> list[tuple[Named, Named]]:
    """The two layers of every cell, in the order of the parameters."""
    cells, each = a["num_layers"] * directions, 4 if a["has_biases"] else 2
    if len(a["params"]) != cells * each:
        raise Unsupported(f"{len(a['params'])} parameters for {cells} cells; projections are not supported")
    result = []
    for first in range(0, cells * each, each):
        (from_input, w), (from_hidden, u), *biases = (
            low.tensor(p, "parameter") for p in a["params"][first : first + each]
        )
        b, d = (bias for _, bias in biases) if biases else (torch.zeros(len(w)), torch.zeros(len(u)))
        result.append(((from_input, (w, b)), (from_hidden, (u, d))))
    return result


def _zero(low: Lowering, node: fx.Node) -> bool:
    return low.is_constant(node) and not low.tensor(node, "state")[1].any()


def _step(low: Lowering, value: fx.Node, index: int) -> fx.Node:
    """One step [N, 1, H] of [N, T, H]."""
    move = QuantMove(f"{value.meta['label']}_last", low.quantizer(value), lambda values: values[:, index].unsqueeze(1))
    return low.put(move, value)


def _turned(low: Lowering, value: fx.Node, order: tuple[int, ...]) -> fx.Node:
    move = QuantMove(f"{value.meta['label']}_turned", low.quantizer(value), lambda values: values.permute(*order))
    return low.put(move, value)


def zeros(low: Lowering, node: fx.Node) -> None:
    """Zeros in the shape, or of the type, of an activation."""
    low.hold(node, node.name, torch.zeros(shape(node)))


RULES = {
    "lstm.input": lstm,
    "gru.input": gru,
    **dict.fromkeys(("new_zeros.default", "zeros_like.default"), zeros),
}
