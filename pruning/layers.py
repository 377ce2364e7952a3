"""What is known about a layer of the traced graph: its channels, and the batch norm behind it."""

from __future__ import annotations

from torch import Tensor, fx

from pruning.rules import operation
from pruning.rules.context import argument, operand
from pruning.trace import Trace

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
PRODUCTS = ("matmul", "mm")
LAYERS = (*CONVOLUTIONS, *PRODUCTS, "linear")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")


def channel_axis(layer: fx.Node) -> int:
    """The axis of a layer's output that holds its channels."""
    rank = layer.meta["val"].ndim
    convolves = operation(layer) in (*CONVOLUTIONS, *TRANSPOSED)
    return rank - operand(layer, 1).meta["val"].ndim + 1 if convolves else rank - 1


def output_axes(trace: Trace) -> dict[str, int]:
    """Weight -> its axis of outputs, for every weight of a layer, a product or a table of embeddings.

    Weights that are not named, of recurrent layers, have their outputs on axis 0.
    """
    lifted, axes = trace.tensors(), dict[str, int]()
    for node in trace.program.graph.nodes:
        kind = operation(node) if node.op == "call_function" else ""
        if kind in (*PRODUCTS, "bmm"):
            found = {0: operand(node, 0).meta["val"].ndim - 2, 1: operand(node, 1).meta["val"].ndim - 1}
        elif kind in (*CONVOLUTIONS, "linear"):
            found = {1: 0}
        else:
            found = {1: 1} if kind in TRANSPOSED else {0: 1} if kind == "embedding" else {}
        for position, axis in found.items():
            if operand(node, position).name in lifted:
                axes[lifted[operand(node, position).name]] = axis
    return axes


def following_norm(layer: fx.Node) -> fx.Node | None:
    """The result of the batch norm over a layer's channels that alone reads the layer, if there is one."""
    users = list(layer.users)
    if len(users) != 1 or operation(users[0]) not in BATCH_NORMS or channel_axis(layer) != 1:
        return None
    results = [user for user in users[0].users if operation(user) == "getitem"]
    return results[0] if results else users[0]


def norm_factor(norm: fx.Node, values: dict[fx.Node, Tensor]) -> Tensor:
    """γ/√(σ²+ε) of an evaluation-mode batch norm: float64 [C].

    Args:
        norm: the operation.
        values: its parameters and statistics by node.
    """
    gamma, variance = norm.args[1], values[operand(norm, 4)].double()
    epsilon = argument(norm, 7 if operation(norm) == "batch_norm" else 6, "eps")
    inverse = (variance + float(epsilon)).rsqrt()
    return inverse if gamma is None else values[operand(norm, 1)].double() * inverse
