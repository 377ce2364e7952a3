"""Sums of products of a layer: a readable reference, and a fast implementation with the same integers.

Both give `sum_k table[w[o, k] + offset, x_k]` (or `sum_k w[o, k] * x_k`); the interpreter adds bias and zero
points.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.program import Conv2d, IntegerWeights, UInt8
from deploy.shapes import window_count

Int64 = npt.NDArray[np.int64]

_GATHER_BYTES = 32 << 20
_FLOAT32_EXACT = 2**24


@dataclass(frozen=True)
class Products:
    """How sums of products are computed.

    Attributes:
        conv2d: (operation, codes uint8 [N, H, W, I], pad code) -> int64 [N, Ho, Wo, O].
        linear: (weights, codes uint8 [N, K]) -> int64 [N, O].
    """

    conv2d: Callable[[Conv2d, UInt8, int], Int64]
    linear: Callable[[IntegerWeights, UInt8], Int64]


def patches(op: Conv2d, codes: UInt8, pad_code: int) -> UInt8:
    """Receptive fields, uint8 [N, Ho, Wo, kh, kw, I], of padded codes uint8 [N, H, W, I]."""
    top, left, bottom, right = op.padding
    padded = np.pad(codes, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad_code)
    _, kh, kw, _ = op.weights.values.shape
    (sh, sw), (dh, dw) = op.stride, op.dilation
    height = window_count(codes.shape[1], kh, sh, dh, top, bottom)
    width = window_count(codes.shape[2], kw, sw, dw, left, right)
    fields = np.empty((len(codes), height, width, kh, kw, codes.shape[3]), np.uint8)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
            fields[:, :, :, i, j] = padded[:, rows, columns]
    return fields


def _grouped(op: Conv2d, codes: UInt8, pad_code: int) -> Iterator[tuple[slice, npt.NDArray[np.int16], UInt8]]:
    """Output channels, weights [O / groups, K] and fields [P, K] of each group."""
    fields = patches(op, codes, pad_code)
    values = op.weights.values
    inputs, outputs = values.shape[3], len(values) // op.groups
    for group in range(op.groups):
        channels = slice(group * outputs, (group + 1) * outputs)
        window = fields[..., group * inputs : (group + 1) * inputs]
        yield channels, values[channels].reshape(outputs, -1), window.reshape(-1, values[0].size)


def _conv2d_by(
    matmul: Callable[[npt.NDArray[np.int16], IntegerWeights, UInt8], Int64],
) -> Callable[..., Int64]:
    def conv2d(op: Conv2d, codes: UInt8, pad_code: int) -> Int64:
        groups = [matmul(values, op.weights, rows) for _, values, rows in _grouped(op, codes, pad_code)]
        sums = np.concatenate(groups, axis=1)
        _, kh, kw, _ = op.weights.values.shape
        height = window_count(codes.shape[1], kh, op.stride[0], op.dilation[0], op.padding[0], op.padding[2])
        width = window_count(codes.shape[2], kw, op.stride[1], op.dilation[1], op.padding[1], op.padding[3])
        return sums.reshape(len(codes), height, width, sums.shape[1])

    return conv2d


def _reference_matmul(values: npt.NDArray[np.int16], weights: IntegerWeights, rows: UInt8) -> Int64:
    """int64 [P, O] of rows uint8 [P, K]; one output channel at a time, gathered in bounded memory."""
    sums = np.empty((len(rows), len(values)), np.int64)
    features = np.arange(rows.shape[1])
    step = max(1, _GATHER_BYTES // (16 * rows.shape[1]))
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        for channel, row in enumerate(values):
            if weights.table is None:
                products = chunk.astype(np.int64) * row
            else:
                products = weights.table[row.astype(np.int64) + weights.offset][features, chunk]
            sums[start : start + step, channel] = products.sum(axis=1, dtype=np.int64)
    return sums


def _exact_matmul(values: npt.NDArray[np.int16], weights: IntegerWeights, rows: UInt8) -> Int64:
    """int64 [P, O] through floating-point BLAS.

    Every partial sum is an integer of at most 255 * sum|w|, so it is exact in any order: in float32 below
    2^24, else in float64 (below 2^53 for any fan-in under 2^30).
    """
    reach = 255 * int(np.abs(values.astype(np.int64)).sum(axis=1).max())
    if reach < _FLOAT32_EXACT:
        return (rows.astype(np.float32) @ values.astype(np.float32).T).astype(np.int64)
    return (rows.astype(np.float64) @ values.astype(np.float64).T).astype(np.int64)


def _fast_conv2d(op: Conv2d, codes: UInt8, pad_code: int) -> Int64:
    weights = op.weights
    if weights.table is None:
        return _conv2d_by(_exact_matmul)(op, codes, pad_code)
    import torch

    from approx.kernels import table_conv2d

    sums = table_conv2d(
        torch.from_numpy(np.ascontiguousarray(codes)),
        torch.from_numpy(weights.values.astype(np.int32) + weights.offset),
        torch.from_numpy(weights.table.copy(order="C")),
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
        pad_code=pad_code,
    )
    return sums.numpy().astype(np.int64)


def _fast_linear(weights: IntegerWeights, codes: UInt8) -> Int64:
    if weights.table is None:
        return _exact_matmul(weights.values, weights, codes)
    import torch

    from approx.kernels import table_matmul

    sums = table_matmul(
        torch.from_numpy(np.ascontiguousarray(codes)),
        torch.from_numpy(weights.values.astype(np.int32) + weights.offset),
        torch.from_numpy(weights.table.copy(order="C")),
    )
    return sums.numpy().astype(np.int64)


def _reference_linear(weights: IntegerWeights, codes: UInt8) -> Int64:
    return _reference_matmul(weights.values, weights, codes)


PRODUCTS: dict[str, Products] = {
    "reference": Products(_conv2d_by(_reference_matmul), _reference_linear),
    "fast": Products(_fast_conv2d, _fast_linear),
}
