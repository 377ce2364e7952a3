"""Convolution by table look-ups in registers (AVX-512BW): 32 output channels per permutation.

For one input code the products with all weights are one row of the table. The row lies in registers, and `vpermi2w`
picks the 32 entries that 32 weights ask for. Two input channels are looked up, interleaved and summed into 32 bits by
`vpmaddwd` against the weights' signs, so a table that is odd in the weight needs only its non-negative half:

    sums[o] = sum_k sign[o, k] * row[x_k][index[o, k]] + base * sum_k sign[o, k]

Entries are 16-bit; unsigned ones are stored less `base` = 32768, and that constant goes into the rounding terms.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.program import Conv2d, TensorSpec
from deploy.tvm_kernels.call import KernelCall, scalars
from deploy.tvm_kernels.geometry import ConvShape
from deploy.tvm_kernels.lookup_script import (
    HIGH_WORDS,
    LANES,
    LOW_WORDS,
    REGISTER_PAIR,
    LookupKind,
    lookup_kernel,
)
from deploy.tvm_kernels.requantise import padded_scaling

_BASE = 1 << 15
_MOST_PRODUCTS = 1 << 14  # per sum; keeps sums with `base` taken off within 32 bits
_FEWEST_OUTPUTS = 8  # below, most lanes would idle
_CHANNEL_OF_WORD = np.argsort(LOW_WORDS + HIGH_WORDS)


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A layer's table and weights prepared for register look-ups.

    Attributes:
        rows: int16 [256, entries], entries 128 or 256; row x holds the products of code x, less `base`.
        index: int16 like the weights: entry of each weight.
        sign: int16 like the weights, +1 or -1.
        base: what was subtracted from the entries.
    """

    rows: npt.NDArray[np.int16]
    index: npt.NDArray[np.int16]
    sign: npt.NDArray[np.int16]
    base: int


def lookup_table(layer: Conv2d) -> LookupTable | None:
    """Prepares a layer, or None when it does not suit: over 256 entries, over 16 bits, groups, few outputs."""
    table, values = layer.weights.table, layer.weights.values
    if table is None or layer.groups != 1 or len(values) < _FEWEST_OUTPUTS or values[0].size > _MOST_PRODUCTS:
        return None
    weights = layer.weights
    half = weights.offset + 1  # rows of weight 1 and up start here
    odd = len(table) == 2 * half - 1 and np.array_equal(table[half:], -table[half - 2 :: -1])
    rows = table[weights.offset :] if odd else table
    index = np.abs(values) if odd else values + weights.offset
    sign = np.where(values < 0, -1, 1) if odd else np.ones_like(values)
    base = 0 if rows.min() >= -_BASE and rows.max() < _BASE else _BASE
    if len(rows) > 4 * REGISTER_PAIR or rows.min() < base - _BASE or rows.max() >= base + _BASE:
        return None
    entries = 2 * REGISTER_PAIR if len(rows) <= 2 * REGISTER_PAIR else 4 * REGISTER_PAIR
    grown = np.pad(rows - base, ((0, entries - len(rows)), (0, 0)))
    return LookupTable(np.ascontiguousarray(grown.T, np.int16), index.astype(np.int16), sign.astype(np.int16), base)


def lookup_call(layer: Conv2d, table: LookupTable, source: TensorSpec, result: TensorSpec, batch: int) -> KernelCall:
    """The kernel and constants of a convolution through `table`, from `lookup_table`."""
    shape = ConvShape.of(layer, source, result, batch)
    weights = layer.weights
    numbers = scalars(source.zero_point, result.zero_point, layer.low, layer.high)
    kind = LookupKind(table.rows.shape[1], bool(weights.weight_zero.any()))
    constant = table.base * table.sign.reshape(len(table.sign), -1).sum(axis=1, dtype=np.int64)
    zero = np.pad(weights.weight_zero, (0, -len(weights.weight_zero) % LANES))
    words = np.concatenate([table.rows.ravel(), packed_index(table.index), packed_sign(table.sign)])
    scaling = np.stack([*padded_scaling(weights, LANES, constant), zero]).astype(np.int64)
    return KernelCall(
        ("lookup", shape, kind, result.dtype),
        lambda: lookup_kernel(shape, kind, result.dtype),
        (numbers, words, scaling),
    )


def _grown(values: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """[O, kh, kw, C] as [O / 32, 32, kh, kw, C / 2, 2], padded with zeros."""
    outputs, rows, columns, channels = values.shape
    grown = np.pad(values, ((0, -outputs % LANES), (0, 0), (0, 0), (0, channels % 2)))
    return grown.reshape(-1, LANES, rows, columns, grown.shape[3] // 2, 2)


def packed_index(index: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Entries of the weights, flat: [kh, kw, C, O / 32, 32], channels in the order of the words."""
    words = _grown(index)[:, _CHANNEL_OF_WORD]
    return np.ascontiguousarray(words.transpose(2, 3, 4, 5, 0, 1)).ravel()


def packed_sign(sign: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Signs of the weights, flat: [kh, kw, C / 2, O, 2]; zero for padding channels."""
    return np.ascontiguousarray(_grown(sign).transpose(2, 3, 4, 0, 1, 5)).ravel()
