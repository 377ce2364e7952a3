"""The non-negative linear companion of a network: how much of every response can reach another.

Yu et al., "NISP: Pruning Networks using Neuron Importance Score Propagation", CVPR 2018, arXiv 1711.05908:
s_k = |W_{k+1}|ᵀ s_{k+1}. Weights become their magnitudes, activations the identity, and biases and everything
else that does not depend on the input disappear. Scores are then a gradient: those of branches that meet add
up, and average pooling, padding, flattening and concatenation need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from pruning.layers import BATCH_NORMS, norm_factor
from pruning.replay import Edit
from pruning.rules import operation
from pruning.rules.context import argument, operand, place
from pruning.trace import Trace


def companion(trace: Trace, response: fx.Node, *, scale_norms: bool, edit: Edit) -> Tensor:
    """One response of the companion, as a function (for autograd) of everything before it.

    Args:
        trace: the network.
        response: the operation whose result is wanted; nothing that it does not depend on is run.
        scale_norms: multiply by |γ|/√(σ²+ε) at batch norms, which are the identity otherwise (reconstructed).
        edit: called with every operation and its result; what it returns takes the result's place.

    Returns:
        float64, shaped like the network's response to the example inputs; its value is zero.

    Raises:
        ValueError: an operation on the way has no linear companion (it is named).
    """
    data, env, wanted = trace.data(), _placeholders(trace), ancestors(response)
    for node in trace.program.graph.nodes:
        if node.op != "placeholder" and node in wanted:
            env[node] = edit(node, _run(node, env, data, scale_norms))
    result: Tensor = env[response]
    return result


def ancestors(node: fx.Node) -> set[fx.Node]:
    """An operation and everything it depends on."""
    found, pending = set[fx.Node](), [node]
    while pending:
        entry = pending.pop()
        if entry not in found:
            found.add(entry)
            pending += entry.all_input_nodes
    return found


def _placeholders(trace: Trace) -> dict[fx.Node, Any]:
    """Parameters and constants in float64; inputs are zeros that require a gradient."""
    signature, table = trace.program.graph_signature, trace.values()
    lifted = {**trace.tensors(), **signature.inputs_to_lifted_tensor_constants}
    inputs, env = iter(trace.inputs), dict[fx.Node, Any]()
    for node in trace.program.graph.nodes:
        if node.op == "placeholder" and node.name in lifted:
            value = table[lifted[node.name]].detach()
            env[node] = value.double() if value.is_floating_point() else value
        elif node.op == "placeholder":
            env[node] = torch.zeros_like(next(inputs), dtype=torch.float64).requires_grad_()
    return env


def _run(node: fx.Node, env: dict[fx.Node, Any], data: set[fx.Node], scale_norms: bool) -> Any:
    if node not in data or not isinstance(node.meta["val"], Tensor | tuple | list):
        return _call(node, *fx.map_arg((node.args, node.kwargs), env.__getitem__))
    kind = operation(node)
    if kind in BATCH_NORMS:
        return _norm(node, env, scale_norms)
    rule = next((rule for rule, names in RULES.items() if kind in names.split()), None)
    if rule is None or any(isinstance(e, fx.Node) and e in data for e in node.kwargs.values()):
        raise ValueError(
            f"{place(node)} has no linear companion, so scores cannot be propagated through it; choose another "
            f"criterion, such as 'taylor', or prune the part of the network without it"
        )
    args, kwargs = fx.map_arg((node.args, node.kwargs), env.__getitem__)
    constant = [not (isinstance(entry, fx.Node) and entry in data) for entry in node.args]
    return rule(node, list(args), dict(kwargs), constant)


def _call(node: fx.Node, args: Any, kwargs: Any) -> Any:
    assert callable(node.target)
    return node.target(*args, **kwargs)


def _norm(node: fx.Node, env: dict[fx.Node, Any], scale: bool) -> Any:
    """Batch norm: the identity, or its factor's magnitude."""
    data = env[operand(node, 0)]
    if scale:
        statistics = {entry: env[entry] for entry in node.all_input_nodes[1:]}
        data = data * norm_factor(node, statistics).abs().reshape(-1, *[1] * (data.ndim - 2))
    return data if isinstance(node.meta["val"], Tensor) else (data, None, None)


def _identity(node: fx.Node, args: list[Any], kwargs: Any, constant: list[bool]) -> Any:
    """Activations."""
    return args[0]


def _itself(node: fx.Node, args: list[Any], kwargs: Any, constant: list[bool]) -> Any:
    """Linear and non-negative already; operands that do not depend on the input carry no gradient."""
    return _call(node, args, kwargs)


def _layer(node: fx.Node, args: list[Any], kwargs: dict[str, Any], constant: list[bool]) -> Any:
    """|W| x, without the bias."""
    _require(node, constant[:2] == [False, True])
    kwargs.pop("bias", None)
    return _call(node, [args[0], args[1].abs(), None, *args[3:]], kwargs)


def _product(node: fx.Node, args: list[Any], kwargs: Any, constant: list[bool]) -> Any:
    """Multiplication, division or matrix product by something that does not depend on the input."""
    divides_by_response = operation(node) == "div" and constant[0]
    _require(node, constant[0] != constant[1] and not divides_by_response and not kwargs.get("rounding_mode"))
    return _call(node, [abs(v) if fixed else v for v, fixed in zip(args, constant, strict=True)], kwargs)


def _sum(node: fx.Node, args: list[Any], kwargs: dict[str, Any], constant: list[bool]) -> Any:
    """x ± αy: responses add up; a constant only lends its shape."""
    first, second = (
        torch.as_tensor(v) * (0.0 if fixed else 1.0) for v, fixed in zip(args[:2], constant[:2], strict=True)
    )
    return first + second * abs(kwargs.get("alpha", 1))


def _extremum(node: fx.Node, args: list[Any], kwargs: Any, constant: list[bool]) -> Any:
    """The largest or smallest of some positions: a score goes to all of them."""
    return args[0].sum(argument(node, 1, "dim"), keepdim=bool(argument(node, 2, "keepdim", False)))


def _max_pool(node: fx.Node, args: list[Any], kwargs: Any, constant: list[bool]) -> Any:
    """A score goes to all taps of its window (the paper's choice is unclear; reconstructed)."""
    stride, padding = argument(node, 2, "stride"), argument(node, 3, "padding", 0)
    _require(node, set(_pair(argument(node, 4, "dilation", 1))) == {1})
    ceil = bool(argument(node, 5, "ceil_mode", False))
    return F.avg_pool2d(args[0], args[1], stride or None, padding, ceil_mode=ceil, divisor_override=1)


def _pair(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _require(node: fx.Node, linear: bool) -> None:
    if not linear:
        raise ValueError(
            f"{place(node)} is not linear in one response (two are multiplied, or a window is dilated), so scores "
            f"cannot be propagated through it; choose another criterion, such as 'taylor'"
        )


RULES: dict[Callable[[fx.Node, list[Any], dict[str, Any], list[bool]], Any], str] = {
    _identity: """
        celu clamp clamp_max clamp_min dropout elu feature_dropout gelu hardsigmoid hardswish hardtanh leaky_relu
        mish neg prelu relu relu6 selu sigmoid silu softplus softsign tanh threshold to _to_copy
    """,
    _itself: """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d alias avg_pool1d
        avg_pool2d avg_pool3d cat chunk clone concat constant_pad_nd contiguous expand expand_as flatten getitem
        mean pad permute reshape select slice split split_with_sizes squeeze sum swapaxes t transpose unflatten
        unsqueeze _unsafe_view upsample_bilinear2d upsample_nearest2d view
    """,
    _layer: "conv1d conv2d conv3d linear",
    _product: "bmm div matmul mm mul",
    _sum: "add rsub sub",
    _extremum: "amax amin",
    _max_pool: "max_pool2d",
}
