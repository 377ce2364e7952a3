"""Requantisation in 64-bit ONNX integers, bit for bit as `deploy.program` defines it.

ONNX has no arithmetic right shift of signed integers and its integer `Div` truncates towards zero, so
the value is made non-negative by a multiple of the divisor first; the bound that proves this safe comes
from the weights.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.onnx_export.graph import Graph

Int64 = npt.NDArray[np.int64]
_LIMIT = 1 << 63


def floor_shift(graph: Graph, value: str, shift: Int64, bound: Int64) -> str:
    """`(value + 2^(shift - 1)) >> shift` with a flooring shift, of an int64 tensor.

    Args:
        graph: graph to add to.
        value: name of the int64 tensor.
        shift: int64, broadcastable to it, 1..62.
        bound: int64 like `shift`: the largest |value| that can occur, below 2^63 - 2^62.
    """
    divisor = [1 << int(bits) for bits in shift.ravel()]
    half = [d // 2 for d in divisor]
    lift = [-(-int(b) // d) for b, d in zip(bound.ravel(), divisor, strict=True)]
    tops = [int(b) + h + k * d for b, h, k, d in zip(bound.ravel(), half, lift, divisor, strict=True)]
    name_divisor = graph.constant(np.asarray(divisor, np.int64).reshape(shift.shape), np.int64)
    if max(tops) < _LIMIT:
        addend = [h + k * d for h, k, d in zip(half, lift, divisor, strict=True)]
        raised = graph.node("Add", value, graph.constant(np.reshape(addend, shift.shape), np.int64))
        quotient = graph.node("Div", raised, name_divisor)
        return graph.node("Sub", quotient, graph.constant(np.reshape(lift, shift.shape), np.int64))
    rounded = graph.node("Add", value, graph.constant(np.reshape(half, shift.shape), np.int64))
    remainder = graph.node("Mod", rounded, name_divisor)  # sign of the divisor: never negative
    return graph.node("Div", graph.node("Sub", rounded, remainder), name_divisor)


def clamp(graph: Graph, value: str, zero_point: int, limits: tuple[int, int], dtype: str) -> str:
    """`clamp(zero_point + value, *limits)` of an int64 tensor, converted to `dtype`."""
    low, high = (graph.constant(limit, np.int64) for limit in limits)
    moved = graph.node("Add", value, graph.constant(zero_point, np.int64))
    return graph.cast(graph.node("Clip", moved, low, high), dtype)


def requantise(graph: Graph, accumulator: str, weights: Any, bound: Int64, spec: Any, limits: tuple[int, int]) -> str:
    """Accumulators int32 [N, O, ...] to output codes, per output channel.

    Args:
        graph: graph to add to.
        accumulator: name of the int32 tensor, channels on axis 1.
        weights: the layer's `IntegerWeights`.
        bound: int64 [O]: the largest |accumulator| that can occur.
        spec: `TensorSpec` of the output; decides rank, zero point and dtype.
        limits: low and high of the clamp.
    """
    shape = (1, -1, 1, 1) if len(spec.shape) == 3 else (1, -1)
    multiplier = weights.multiplier.astype(np.int64).reshape(shape)
    shift = weights.shift.astype(np.int64).reshape(shape)
    product = graph.node("Mul", graph.cast(accumulator, "int64"), graph.constant(multiplier, np.int64))
    shifted = floor_shift(graph, product, shift, bound.reshape(shape) * np.abs(multiplier))
    return clamp(graph, shifted, spec.zero_point, limits, spec.dtype)
