"""Activation functions that bound their input."""

import math

from torch import fx

from approx.addition import QuantAdd
from approx.layer import QuantLayer
from approx.lowering import Lowering, arguments
from approx.operations import QuantAvgPool, QuantClamp
from approx.rules.functions import lookup


def _bounded(low: Lowering, node: fx.Node, x: fx.Node, cap: float) -> None:
    """Fuses a ReLU into its producer where nothing else reads the producer, else bounds the codes."""
    producer = low.operation(x)
    fusable = isinstance(producer, QuantLayer | QuantAdd | QuantAvgPool) and producer.cap is None
    if fusable and low.sole_reader(x):
        producer.cap = cap
        low.alias(node, x)
    else:
        low.add(node, QuantClamp(node.name, low.source(x), cap), [x])


def relu(low: Lowering, node: fx.Node) -> None:
    """Fused into its producer where it can be."""
    _bounded(low, node, arguments(node)["self"], math.inf)


def hardtanh(low: Lowering, node: fx.Node) -> None:
    """ReLU6 and its like; a table where the lower bound is not 0."""
    a = arguments(node)
    if a["min_val"] == 0:
        _bounded(low, node, a["self"], float(a["max_val"]))
    else:
        lookup(low, node)


RULES = {
    "relu.default": relu,
    "relu_.default": relu,
    "relu6.default": lambda low, node: _bounded(low, node, arguments(node)["self"], 6.0),
    "hardtanh.default": hardtanh,
    "hardtanh_.default": hardtanh,
}
