"""A layer as what it computes: products of rows of weights with patches of its input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, fx

from pruning.activations import activations
from pruning.criteria.base import Batches, checked_batches
from pruning.layers import CONVOLUTIONS, LAYERS, PRODUCTS
from pruning.rules import operation
from pruning.rules.context import argument, operand
from pruning.trace import Trace, preserved_rng

OPTIONS = ("stride", "padding", "dilation")
"""Of a convolution, after input, weight and bias."""

CHUNK = 2**22
"""Most numbers of patches held at once, unless a single example has more."""


def parameter_layers(trace: Trace) -> dict[fx.Node, str]:
    """Convolutions, linear layers and products of data with a matrix of parameters -> the name of their weight."""
    names, data, found = trace.tensors(), trace.data(), dict[fx.Node, str]()
    for node in trace.program.graph.nodes:
        if node.op == "call_function" and operation(node) in LAYERS and operand(node, 0) in data:
            weight = operand(node, 1)
            if weight.name in names and (operation(node) not in PRODUCTS or weight.meta["val"].ndim == 2):
                found[node] = names[weight.name]
    return found


def weight_rows(layer: fx.Node, weight: Tensor) -> Tensor:
    """Weights as rows, one per output: [groups, outputs per group, K], K = inputs per group * kernel taps."""
    if operation(layer) in PRODUCTS:
        return weight.T[None]
    return weight.reshape(_groups(layer), -1, weight[0].numel())


def weight_of_rows(layer: fx.Node, rows: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `weight_rows`: a tensor of the weight's own shape."""
    return rows[0].T if operation(layer) in PRODUCTS else rows.reshape(shape)


def channel_columns(layer: fx.Node, channels: Tensor) -> Tensor:
    """One value per input channel [C] -> the value of every column of the rows: [groups, K]."""
    return channels.reshape(_groups(layer), -1).repeat_interleave(taps(layer), dim=1)


def taps(layer: fx.Node) -> int:
    """k: number of weights between one input channel and one output."""
    return math.prod(operand(layer, 1).meta["val"].shape[2:]) if operation(layer) in CONVOLUTIONS else 1


def patches(layer: fx.Node, x: Tensor) -> Tensor:
    """What the rows are multiplied with: [N, groups, K, positions], for any stride, padding and dilation.

    A convolution's patches are a convolution themselves, with one filter per tap. A linear layer has one position;
    tokens of a sequence count as examples.

    Args:
        layer: a convolution, a linear layer or a product with a matrix.
        x: its input: [N, C, ...], or [N, ..., K].
    """
    if operation(layer) not in CONVOLUTIONS:
        return x.reshape(-1, 1, x.shape[-1], 1)
    channels, kernel = x.shape[1], operand(layer, 1).meta["val"].shape[2:]
    pick = torch.eye(taps(layer), dtype=x.dtype, device=x.device).reshape(-1, 1, *kernel)
    options = {**dict(zip(OPTIONS, layer.args[3:6], strict=False)), **layer.kwargs, "bias": None, "groups": channels}
    assert callable(layer.target)
    picked: Tensor = layer.target(x, pick.repeat(channels, *[1] * (x.ndim - 1)), **options)
    return picked.flatten(2).unflatten(1, (_groups(layer), -1))


def layer_patches(
    trace: Trace, layers: Iterable[fx.Node], batches: Batches | None, examples: int, name: str
) -> Iterator[tuple[fx.Node, Tensor]]:
    """Patches of every layer on the first examples of some data, a few examples at a time.

    A layer whose input has negative values sees twice as many examples: x = a⁺ − a⁻ is stacked as (a⁺, a⁻), so
    patches are never negative.

    Args:
        trace: the network.
        layers: of `parameter_layers`.
        batches: pairs (inputs, targets); the targets are not used.
        examples: most examples taken, the first of the data.
        name: who asks, for messages.

    Yields:
        A layer and float64 [n, groups, K, positions]; every layer and example once.

    Raises:
        ValueError: there is no data, or it does not fit the network.
    """
    sources = {layer: operand(layer, 0).name for layer in layers}
    with preserved_rng():
        for inputs, _ in checked_batches(trace, batches, name):
            taken = tuple(tensor[:examples] for tensor in inputs)
            found = activations(trace, taken, set(sources.values()))
            for layer, source in sources.items():
                for x in _signed(layer, found[source].double()):
                    yield layer, patches(layer, x)
            examples -= len(taken[0])
            if examples <= 0:
                return


def _signed(layer: fx.Node, x: Tensor) -> Iterator[Tensor]:
    """Few examples at a time, and the magnitudes of their negative values as further examples."""
    size = x[0].numel() * taps(layer)
    for part in x.split(max(1, CHUNK // max(1, size))):
        yield part.clamp(min=0)
        if bool((part < 0).any()):
            yield (-part).clamp(min=0)


def _groups(layer: fx.Node) -> int:
    return int(argument(layer, 6, "groups", 1)) if operation(layer) in CONVOLUTIONS else 1
