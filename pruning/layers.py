"""What is known about a layer of the traced graph: its channels, and the batch norm behind it."""

from __future__ import annotations

from torch import Tensor, fx

from pruning.rules import operation
from pruning.rules.context import argument, operand

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
PRODUCTS = ("matmul", "mm")
LAYERS = (*CONVOLUTIONS, *PRODUCTS, "linear")
BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")


def channel_axis(layer: fx.Node) -> int:
    """The axis of a layer's output that holds its channels."""
    rank = layer.meta["val"].ndim
    return rank - operand(layer, 1).meta["val"].ndim + 1 if operation(layer) in CONVOLUTIONS else rank - 1


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
