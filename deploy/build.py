"""From a `QuantisedNetwork` to its integer `Program`: one small builder per operation, nothing computed twice."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import fx

from approx import QuantisedNetwork
from approx.addition import QuantAdd
from approx.capture import INPUT
from approx.convolution import QuantConv
from approx.layer import QuantLayer
from approx.linear import QuantLinear
from approx.operation import Arithmetic, Operation
from approx.operations import (
    QuantAvgPool,
    QuantClamp,
    QuantConcat,
    QuantFlatten,
    QuantInput,
    QuantMaxPool,
    QuantPad,
    QuantSlice,
)
from approx.window import Window
from deploy import program as p
from deploy.accumulator import accumulator_bound

Two = tuple[int, int]
Three = tuple[int, int, int]
Four = tuple[int, int, int, int]


def build(network: QuantisedNetwork, name: str = "network") -> p.Program:
    """The integer program that computes exactly what the network computes in INTEGER arithmetic.

    Args:
        network: calibrated.
        name: kept in the program's metadata.

    Raises:
        ValueError: the network is not calibrated, has an operation that programs do not know, or an accumulator that
            could leave 32 bits; the layer is named.
    """
    shapes = _shapes(network)
    tensors: dict[str, p.TensorSpec] = {}
    operations: list[p.Operation] = []
    result = ""
    for node in network.graph_module.graph.nodes:
        if node.op == "output":
            result = _operation(network, cast(fx.Node, node.args[0])).label
        if node.op != "call_module":
            continue
        operation = _operation(network, node)
        label = operation.label
        tensors[label] = _spec(operation, shapes[label])
        if not isinstance(operation, QuantInput):
            read = (cast(fx.Node, a) for a in node.args)
            inputs = tuple(_operation(network, a).label for a in read if a.op == "call_module")
            builder = _builder(operation, [shapes[name] for name in (*inputs, label)])
            operations.append(builder(operation, (label, inputs, label)))
    _require_wide_output(operations[-1])
    return p.Program(tensors, tuple(operations), INPUT, result, {"name": name})


def _operation(network: QuantisedNetwork, node: fx.Node) -> Operation:
    return cast(Operation, network.graph_module.get_submodule(str(node.target)))


def _builder(operation: Operation, shapes: list[tuple[int, ...]]) -> Callable[[Operation, "Place"], p.Operation]:
    """What builds the operation, which reads and writes tensors of these shapes (channels last, without the batch)."""
    builder = BUILDERS.get(type(operation))
    axes = (1,) if isinstance(operation, QuantLinear) else (1, 3)
    if builder is None or any(len(shape) not in axes for shape in shapes):
        places = " -> ".join(str(list(shape)) for shape in shapes)
        raise ValueError(
            f"operation {operation.label!r} ({type(operation).__name__}, {places}) has no form in an integer program: "
            f"programs hold {', '.join(sorted(kind.__name__ for kind in BUILDERS))} of [F] or [H, W, C]; such a "
            "network can be simulated, trained and analysed, but not deployed"
        )
    return builder


def _require_wide_output(last: p.Operation) -> None:
    if not isinstance(last, p.Conv2d | p.Linear | p.Add | p.AvgPool2d | p.Concat):
        raise ValueError(
            f"the network ends with {last.name!r}, which only moves values; a program must end with a convolution, "
            "linear layer, addition, concatenation or average pooling"
        )


def _shapes(network: QuantisedNetwork) -> dict[str, tuple[int, ...]]:
    """Shape of every operation's result, channels last, without the batch."""
    found: dict[str, tuple[int, ...]] = {}

    class Watch(fx.Interpreter):
        def call_module(self, target: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
            result = super().call_module(target, args, kwargs)  # type: ignore[arg-type]
            assert isinstance(result, torch.Tensor)
            channels, *spatial = result.shape[1:]
            found[cast(Operation, self.submodules[str(target)]).label] = (*spatial, channels)
            return result

    with torch.no_grad(), network.using(Arithmetic.FLOAT):
        Watch(network.graph_module).run(torch.zeros(1, *network.input_shape))
    return found


def _spec(operation: Operation, shape: tuple[int, ...]) -> p.TensorSpec:
    quantizer = operation.output
    if not quantizer.calibrated:
        raise ValueError(f"operation {operation.label!r} is not calibrated; quantise the network with calibration data")
    if quantizer.bits not in (8, 16):
        raise ValueError(
            f"operation {operation.label!r} writes activations of {quantizer.bits} bits, programs hold 8; "
            "quantise the network with bits=8 to deploy it"
        )
    dtype = "uint8" if quantizer.bits == 8 else "int16"
    return p.TensorSpec(shape, dtype, float(quantizer.scale), int(quantizer.zero_point))


Place = tuple[str, tuple[str, ...], str]


def _weights(layer: QuantLayer) -> p.IntegerWeights:
    if layer.mixed:
        raise ValueError(f"layer {layer.label!r} has circuits by output channel; programs hold one circuit a layer")
    numbers = layer.integers()
    values = numbers.values.numpy()

    def int32(values: torch.Tensor) -> p.Int32:
        return values.numpy().astype(np.int32)

    weights = p.IntegerWeights(
        values=np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if values.ndim == 4 else values,
        weight_zero=int32(numbers.weight_zero),
        bias=int32(numbers.bias + numbers.constant),
        multiplier=int32(numbers.multiplier),
        shift=int32(numbers.shift),
        table=None if layer.table is None else layer.table.values,
        offset=layer.layer_circuit.table.offset,
        circuit=layer.circuit,
        operands=layer.operands.value,
    )
    accumulator_bound(weights, layer.label)
    return weights


def _conv2d(operation: Operation, place: Place) -> p.Operation:
    conv = cast(QuantConv, operation)
    g, (low, high) = conv.geometry, conv.bounds
    moves = cast(tuple[Two, Four, Two], (g.stride, g.padding, g.dilation))
    return p.Conv2d(*place, _weights(conv), *moves, g.groups, low, high)


def _linear(operation: Operation, place: Place) -> p.Operation:
    return p.Linear(*place, _weights(cast(QuantLinear, operation)), *operation.bounds)


def _add(operation: Operation, place: Place) -> p.Operation:
    multipliers, shift = cast(QuantAdd, operation).fixed_point()
    return p.Add(*place, (multipliers[0], multipliers[1]), shift, *operation.bounds)


def _max_pool2d(operation: Operation, place: Place) -> p.Operation:
    return p.MaxPool2d(*place, *_window(cast(QuantMaxPool, operation).window))


def _avg_pool2d(operation: Operation, place: Place) -> p.Operation:
    pool = cast(QuantAvgPool, operation)
    return p.AvgPool2d(*place, *_window(pool.window), *pool.fixed_point(), *pool.bounds)


def _window(window: Window) -> tuple[Two, Two, Four]:
    return cast(tuple[Two, Two, Four], (window.kernel, window.stride, window.padding))


def _clamp(operation: Operation, place: Place) -> p.Operation:
    return p.Clamp(*place, *operation.bounds)


def _pad(operation: Operation, place: Place) -> p.Operation:
    height, width, channels = cast(QuantPad, operation).amounts
    return p.Pad(*place, (height, width, channels))


def _slice(operation: Operation, place: Place) -> p.Operation:
    slices = cast(QuantSlice, operation).slices
    parts = (tuple(getattr(s, key) for s in slices) for key in ("start", "stop", "step"))
    return p.Slice(*place, *(cast(Three, part) for part in parts))


def _concat(operation: Operation, place: Place) -> p.Operation:
    return p.Concat(*place, *cast(QuantConcat, operation).fixed_point())


def _flatten(operation: Operation, place: Place) -> p.Operation:
    return p.Flatten(*place)


Builder = Callable[[Operation, Place], p.Operation]

BUILDERS: dict[type[Operation], Builder] = {
    QuantConv: _conv2d,
    QuantLinear: _linear,
    QuantAdd: _add,
    QuantMaxPool: _max_pool2d,
    QuantAvgPool: _avg_pool2d,
    QuantClamp: _clamp,
    QuantPad: _pad,
    QuantSlice: _slice,
    QuantConcat: _concat,
    QuantFlatten: _flatten,
}
