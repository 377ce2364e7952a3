"""What reads units: the linear maps that sum over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx

from pruning.groups import Grouping
from pruning.layers import LAYERS, PRODUCTS, TRANSPOSED, channel_axis, following_norm, norm_factor
from pruning.rules import operation
from pruning.rules.context import argument, operand, place

UNREADABLE = {
    "addmm", "baddbmm", "cumsum", "dot", "einsum", "gru", "linalg_vector_norm", "lstm", "mv", "rnn_relu", "rnn_tanh",
    "scaled_dot_product_attention",
}  # fmt: skip
"""Operations that sum over channels and are refused, so that no reader is passed over in silence."""


@final
@dataclass(frozen=True)
class LinearMap:
    """A layer without its bias, times the factor of the batch norm right behind it.

    Attributes:
        weight: float64, shaped like the layer's, the factor included.
        columns: the axis of `weight` that is summed over; its size is that of one group, for a convolution
            that is not transposed.
        apply: (x, weight) -> result.
    """

    weight: Tensor
    columns: int
    apply: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """The map of x; with `positions`, x holds only those of the axis summed over, and the others are zero.

        Args:
            x: float64 [N, ...].
            positions: ascending, the same in every group of a convolution: int64 [n].
        """
        if positions is None:
            return self.apply(x, self.weight)
        present = torch.unique(positions % self.weight.shape[self.columns])
        return self.apply(x, self.weight.index_select(self.columns, present))


def consumers(grouping: Grouping, site: fx.Node, axis: int) -> list[LinearMap]:
    """The linear parts, in float64, of everything that sums over an axis of a tensor where units end.

    A layer's bias is left out, and the batch norm that directly follows is included as a factor.

    Raises:
        ValueError: something sums there that is not linear in the tensor (it is named).
    """
    parameters = grouping.trace.tensors()
    table = grouping.trace.values()
    nodes = {n: table[parameters[n.name]].detach() for n in grouping.trace.program.graph.nodes if n.name in parameters}
    return [_linear_part(layer, nodes) for layer in readers(grouping, site, axis)]


def readers(grouping: Grouping, site: fx.Node, axis: int) -> list[fx.Node]:
    """The layers that sum over an axis of a tensor where units end, which is their operand 0.

    Raises:
        ValueError: as for `consumers`.
    """
    parameters, found = grouping.trace.tensors(), []
    for user in site.users:
        kind = operation(user)
        if kind in (*LAYERS, *TRANSPOSED, "bmm"):
            right = operand(user, 1)
            is_stack = kind == "bmm" or (kind in PRODUCTS and right.meta["val"].ndim != 2)
            if user.args[0] is not site or right.name not in parameters or is_stack:
                raise ValueError(
                    f"{place(user)} multiplies channels by something that is no parameter matrix, so there is no "
                    f"linear map to explain; leave the layers before it out with ignore=, or choose another criterion"
                )
            if parameters[right.name] not in grouping.whole_groups and channel_axis(user) == axis:
                found.append(user)
        elif kind in UNREADABLE:
            raise ValueError(
                f"{place(user)} sums over channels in a way that has no linear map here; leave the layers before it "
                f"out with ignore=, or choose another criterion"
            )
        elif kind == "sum" and axis in _summed(user, site.meta["val"].ndim):
            raise ValueError(f"{place(user)} sums over channels without weights; leave them out with ignore=")
    return found


def _linear_part(layer: fx.Node, values: dict[fx.Node, Tensor]) -> LinearMap:
    weight, kind, target = values[operand(layer, 1)].double(), operation(layer), _function(layer)
    result = following_norm(layer)
    if result is not None:
        norm = operand(result, 0) if operation(result) == "getitem" else result
        weight = _scaled(layer, weight, norm_factor(norm, values))
    if kind in PRODUCTS:
        return LinearMap(weight, 0, target)
    rest = layer.args[3:]
    options = {name: value for name, value in layer.kwargs.items() if name != "bias"}
    return LinearMap(weight, int(kind not in TRANSPOSED), lambda x, w: target(x, w, None, *rest, **options))


def _scaled(layer: fx.Node, weight: Tensor, factor: Tensor) -> Tensor:
    """The weight of a layer whose outputs are multiplied by a factor each: [outputs]."""
    kind, window = operation(layer), [1] * (weight.ndim - 2)
    if kind in PRODUCTS:
        return weight * factor
    if kind in TRANSPOSED:  # [inputs, outputs / groups, ...]
        groups = int(argument(layer, 6, "groups", 1))
        return (weight.unflatten(0, (groups, -1)) * factor.reshape(groups, 1, -1, *window)).flatten(0, 1)
    return weight * factor.reshape(-1, 1, *window)


def _function(node: fx.Node) -> Callable[..., Any]:
    assert callable(node.target)
    return node.target


def _summed(node: fx.Node, rank: int) -> set[int]:
    dims = argument(node, 1, "dim") or list(range(rank))
    return {dim % rank for dim in ([dims] if isinstance(dims, int) else dims)}
