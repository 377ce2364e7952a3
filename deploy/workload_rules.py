"""Work of the operations of an exported graph: one rule an operation, and the operations that have none to do."""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

from torch import fx

from approx.naming import layer_label, module_path, part_label, product_label
from deploy.layer_workload import LayerWorkload

Parameters = Mapping[str, str]
"""Name in the exported graph -> the user's parameter."""


def _layer_name(node: fx.Node, parameters: Parameters) -> str:
    """Name of the layer: its weight parameter's, without ".weight"; else the module that issued the node."""
    weight = node.args[1]
    if isinstance(weight, fx.Node) and weight.name in parameters:
        return layer_label(parameters[weight.name])
    if not module_path(node):
        raise ValueError(
            f"operation {node.target} has weights that belong to no named module; use nn.Conv2d or nn.Linear"
        )
    return module_path(node)


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in node.meta["val"].shape)


def _convolution(node: fx.Node, parameters: Parameters) -> Iterator[LayerWorkload]:
    channels, per_group, *kernel = _shape(node.args[1])
    shape_in, shape_out = _shape(node.args[0]), _shape(node)
    yield LayerWorkload(
        name=_layer_name(node, parameters),
        kind=f"conv{len(kernel)}d",
        fan_in=per_group * prod(kernel),
        channels=channels,
        groups=shape_in[1] // per_group,
        positions=prod(shape_out[2:]) * shape_out[0],
        inputs=prod(shape_in),
    )


def _linear(node: fx.Node, parameters: Parameters) -> Iterator[LayerWorkload]:
    channels, fan_in = _shape(node.args[1])
    yield _dense(_layer_name(node, parameters), _shape(node.args[0]), fan_in, channels)


def _matmul(node: fx.Node, parameters: Parameters) -> Iterator[LayerWorkload]:
    first, second = map(_shape, node.args[:2])
    if isinstance(node.args[1], fx.Node) and node.args[1].name in parameters:
        yield _dense(_layer_name(node, parameters), first, *second)
    else:
        broadcast = (*_shape(node)[:-2], *first[-2:])
        yield _products(product_label(node), broadcast, second[-1])


def _attention(node: fx.Node, parameters: Parameters) -> Iterator[LayerWorkload]:
    """softmax(q k^T) v."""
    query, key, value = map(_shape, node.args[:3])
    yield _products(part_label(node, "qk"), query, key[-2])
    yield _products(part_label(node, "av"), (*query[:-1], key[-2]), value[-1])


def _dense(name: str, shape_in: tuple[int, ...], fan_in: int, channels: int) -> LayerWorkload:
    return LayerWorkload(
        name=name,
        kind="linear",
        fan_in=fan_in,
        channels=channels,
        groups=1,
        positions=prod(shape_in[:-1]),
        inputs=prod(shape_in),
    )


def _products(name: str, first: tuple[int, ...], columns: int) -> LayerWorkload:
    """Products of activations [..., P, K] with others [..., K, columns]."""
    *leading, positions, fan_in = first
    matrices = prod(leading)
    return LayerWorkload(
        name=name,
        kind="matmul",
        fan_in=fan_in,
        channels=matrices * columns,
        groups=matrices,
        positions=positions,
        inputs=matrices * fan_in * (positions + columns),
    )


RULES: dict[str, Callable[[fx.Node, Parameters], Iterator[LayerWorkload]]] = {
    "aten.conv1d.default": _convolution,
    "aten.conv1d.padding": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.conv2d.padding": _convolution,
    "aten.conv3d.default": _convolution,
    "aten.conv3d.padding": _convolution,
    "aten.linear.default": _linear,
    "aten.matmul.default": _matmul,
    "aten.bmm.default": _matmul,
    "aten.scaled_dot_product_attention.default": _attention,
}

# Operations without multiply-accumulates, by ATen name without overload. Anything absent is refused by name.
_FREE_NAMES = """
    relu relu6 hardtanh clamp clamp_min leaky_relu elu gelu silu sigmoid tanh hardswish hardsigmoid mish
    softmax log_softmax batch_norm layer_norm group_norm instance_norm dropout feature_dropout alpha_dropout
    max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d max_pool2d_with_indices mean sum amax
    add sub mul div neg pow sqrt exp maximum minimum where
    flatten unflatten view reshape _unsafe_view squeeze unsqueeze permute transpose t contiguous clone alias
    detach expand repeat slice select unbind narrow split split_with_sizes chunk cat concat stack pad constant_pad_nd
    movedim channel_shuffle pixel_shuffle pixel_unshuffle upsample_nearest2d upsample_bilinear2d
    to _to_copy _assert_tensor_metadata type_as lift_fresh_copy
    zeros ones zeros_like ones_like full full_like arange empty new_zeros
"""
_FREE = frozenset(_FREE_NAMES.split())


def is_free(operation: str) -> bool:
    """Whether an operation, e.g. "aten.relu_.default", has no MACs; also `getitem` of a tuple."""
    if operation.startswith("aten."):
        return operation.split(".")[1].removesuffix("_") in _FREE
    return "getitem" in operation
