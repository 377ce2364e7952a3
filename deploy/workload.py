"""`LayerWorkload`: how much a convolution, linear layer or product of two activations has to do, from a float network
or a `Program`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import fx, nn

from approx.capture import export
from approx.naming import layer_label, module_path, part_label, product_label, unique
from deploy.program import Conv2d, Linear, Program

ACTIVATION_BITS = 8
WEIGHT_BITS = 8

Parameters = Mapping[str, str]
"""Name in the exported graph -> the user's parameter."""


@dataclass(frozen=True)
class LayerWorkload:
    """Work of one layer for one image. Padding positions count as multiplications, as in published counts.

    Attributes:
        name: the user's module name, e.g. "layer1.0.conv1".
        kind: "conv1d", "conv2d", "conv3d", "linear" or "matmul", a product of two activations.
        fan_in: products per output value, I / groups * kh * kw.
        channels: output channels O; of B products [P, K] x [K, O]: B * O.
        groups: convolution groups (channels = groups: depthwise); 1 for linear layers; B of products.
        positions: output values per channel, Ho * Wo (linear on [N, T, F]: T; products: P).
        inputs: input elements, without padding, of both operands where both are activations.
        weight_bits: bits that store one weight.
    """

    name: str
    kind: str
    fan_in: int
    channels: int
    groups: int
    positions: int
    inputs: int
    weight_bits: int = WEIGHT_BITS

    def __post_init__(self) -> None:
        for key in ("fan_in", "channels", "groups", "positions", "inputs", "weight_bits"):
            if getattr(self, key) < 1:
                raise ValueError(f"layer {self.name!r}: {key} must be at least 1, got {getattr(self, key)}")
        if self.channels % self.groups:
            raise ValueError(
                f"layer {self.name!r}: {self.channels} output channels do not split into {self.groups} groups"
            )

    @property
    def macs(self) -> int:
        """Multiplications, and as many additions."""
        return self.outputs * self.fan_in

    @property
    def outputs(self) -> int:
        """Output elements."""
        return self.positions * self.channels

    @property
    def second_operands(self) -> int:
        """What inputs are multiplied by: weights, or elements of a second activation."""
        return self.channels * self.fan_in

    @property
    def weights(self) -> int:
        """Weights that are stored, without bias."""
        return 0 if self.kind == "matmul" else self.second_operands


def workloads_of_module(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[LayerWorkload, ...]:
    """Workloads of a float network, in execution order, from `torch.export`'s graph. Needs no data.

    A module that is applied again is another workload, its name followed by "_2". Operations without
    multiply-accumulates (activations, pooling, batch normalisation, reshaping, element-wise arithmetic) are
    passed over.

    Args:
        model: any exportable module; its training flags are restored.
        input_shape: of one image, (C, H, W) or (F,), without the batch.

    Raises:
        ValueError: the network has an operation whose work is not known (e.g. a transposed convolution); names the
            operation and its module.
    """
    program = export(model, torch.zeros(1, *input_shape))
    parameters = program.graph_signature.inputs_to_parameters
    found: dict[str, LayerWorkload] = {}
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        operation = str(node.target)
        if operation in _RULES:
            for work in _RULES[operation](node, parameters):
                name = unique(work.name, found)
                found[name] = replace(work, name=name)
        elif not _is_free(operation):
            raise ValueError(
                f"operation {operation!r} in module {module_path(node) or '(top)'!r}: MACs not known; "
                f"counted are {sorted(_RULES)}. Replace it, or account for the rest alone"
            )
    if not found:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer to account for")
    return tuple(found.values())


def workloads_of_program(program: Program) -> tuple[LayerWorkload, ...]:
    """Workloads of a program's convolution and linear operations, in execution order, by name."""
    return tuple(
        _program_workload(operation, program)
        for operation in program.operations
        if isinstance(operation, Conv2d | Linear)
    )


def _program_workload(operation: Conv2d | Linear, program: Program) -> LayerWorkload:
    values = operation.weights.values
    channels = values.shape[0]
    return LayerWorkload(
        name=operation.name,
        kind="conv2d" if isinstance(operation, Conv2d) else "linear",
        fan_in=int(prod(values.shape[1:])),
        channels=channels,
        groups=operation.groups if isinstance(operation, Conv2d) else 1,
        positions=program.tensors[operation.output].size // channels,
        inputs=program.tensors[operation.inputs[0]].size,
        weight_bits=9 if operation.weights.operands == "sign-magnitude-9" else WEIGHT_BITS,
    )


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
        yield _products(product_label(node), first, second[-1])


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


_RULES: dict[str, Callable[[fx.Node, Parameters], Iterator[LayerWorkload]]] = {
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


def _is_free(operation: str) -> bool:
    """Whether an operation, e.g. "aten.relu_.default", has no MACs; also `getitem` of a tuple."""
    if operation.startswith("aten."):
        return operation.split(".")[1].removesuffix("_") in _FREE
    return "getitem" in operation
