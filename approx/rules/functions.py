"""Functions of one activation: each becomes a table of 256 codes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import fx

from approx.lookup import QuantLookup
from approx.lowering import Lowering, Unsupported
from approx.quantizer import Quantizer

_NAMES = """
    gelu silu sigmoid tanh hardswish hardsigmoid leaky_relu elu selu celu softplus mish softsign logsigmoid log_sigmoid
    clamp clamp_min clamp_max abs neg exp square sqrt rsqrt reciprocal erf sin cos
"""


def add_lookup(low: Lowering, node: fx.Node, x: fx.Node, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The exported `node` is a function of x, value by value."""
    low.add(node, QuantLookup(node.name, low.source(x), Quantizer(), function), [x])


def lookup(low: Lowering, node: fx.Node) -> None:
    """Any function of one activation and constant numbers."""
    x, *constants = node.args
    assert isinstance(x, fx.Node)
    if len(node.all_input_nodes) != 1:
        raise Unsupported("a parameter of the function is a tensor, expected a number")
    add_lookup(low, node, x, partial(_apply, _out_of_place(node.target), tuple(constants), dict(node.kwargs)))


def _apply(function: Any, constants: tuple[Any, ...], named: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = function(x, *constants, **named)
    return result


def _out_of_place(target: Any) -> Any:
    """aten.silu_.default -> aten.silu.default."""
    namespace, name, overload = str(target).split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name.removesuffix("_")), overload)


RULES = {f"{name}{inplace}.default": lookup for name in _NAMES.split() for inplace in ("", "_")}
