"""Weights and product tables in the smallest form that gives the same integers.

A table keeps only the rows its weights use; equal rows are stored once; where L[-w] = -L[w] for all weights
used, one row serves both signs; the element type is the narrowest that holds every product. A table of exact
products is not stored at all. Layers whose tables are equal share one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.program import Int32, IntegerWeights

_ELEMENT_TYPES = ("uint8", "int8", "uint16", "int16")


@dataclass(frozen=True, eq=False)
class PackedTable:
    """Rows of products and how weights name them.

    Attributes:
        rows: [R, 256] of the element type.
        folded: a weight's top bit is its sign, the rest the row; else the weight is the row.
        row_of: weight value -> row.
        weight_type: numpy name, "uint8" or "uint16".
    """

    rows: npt.NDArray[np.integer]
    folded: bool
    row_of: dict[int, int]
    weight_type: str

    @property
    def element_type(self) -> str:
        """Numpy name of the products' type."""
        return self.rows.dtype.name

    def encode(self, values: npt.NDArray[np.int16]) -> npt.NDArray[np.unsignedinteger]:
        """Weights as stored, in the shape of `values`."""
        kind = np.dtype(self.weight_type)
        sign = 1 << (8 * kind.itemsize - 1)
        used = np.unique(values)
        codes = [
            self.row_of[abs(int(v))] + (sign if v < 0 else 0) if self.folded else self.row_of[int(v)] for v in used
        ]
        return np.asarray(codes, kind)[np.searchsorted(used, values)]


def is_exact(weights: IntegerWeights) -> bool:
    """Whether every product this layer can form is the exact one."""
    if weights.table is None:
        return True
    used = np.unique(weights.values).astype(np.int64)
    exact = used[:, None] * np.arange(256)
    return bool(np.array_equal(weights.table[used + weights.offset], exact))


def pack_table(table: Int32, offset: int, values: Sequence[npt.NDArray[np.int16]]) -> PackedTable:
    """Packs one table for all layers that use it.

    Args:
        table: int32 [n_w, 256].
        offset: added to a weight to index the table.
        values: the weights of each layer.
    """
    used = np.unique(np.concatenate([np.unique(array) for array in values])).astype(np.int64)
    folded = _is_odd(table, offset, used)
    keys = np.unique(np.abs(used)) if folded else used
    rows, inverse = np.unique(table[keys + offset], axis=0, return_inverse=True)
    limit = 128 if folded else 256
    return PackedTable(
        rows.astype(_narrowest(rows)),
        folded,
        dict(zip(keys.tolist(), inverse.reshape(-1).tolist(), strict=True)),
        "uint8" if len(rows) <= limit else "uint16",
    )


def _is_odd(table: Int32, offset: int, used: npt.NDArray[np.int64]) -> bool:
    """L[-w] = -L[w] for all negative weights used."""
    negative = used[used < 0]
    if len(negative) == 0 or offset - negative.min() >= len(table):
        return False
    return bool(np.array_equal(table[negative + offset], -table[offset - negative]))


def _narrowest(rows: Int32) -> str:
    low, high = int(rows.min()), int(rows.max())
    for name in _ELEMENT_TYPES:
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return name
    return "int32"


@dataclass(frozen=True, eq=False)
class ExactWeights:
    """Weights of a layer without table.

    Attributes:
        values: int8 or int16, in the layer's shape.
        weight_zero: int32 [O], matching `values`.
    """

    values: npt.NDArray[np.signedinteger]
    weight_zero: Int32


def pack_exact(weights: IntegerWeights) -> ExactWeights:
    """8-bit weights where they fit, if need be moved by 128: w x - z x = (w - 128) x - (z - 128) x."""
    low, high = int(weights.values.min()), int(weights.values.max())
    if low >= -128 and high <= 127:
        return ExactWeights(weights.values.astype(np.int8), weights.weight_zero)
    if low >= 0 and high <= 255:
        moved = (weights.values - 128).astype(np.int8)
        return ExactWeights(moved, (weights.weight_zero - 128).astype(np.int32))
    return ExactWeights(weights.values, weights.weight_zero)


def accumulator_reach(weights: IntegerWeights, exact: ExactWeights | None) -> int:
    """Largest absolute value any partial sum of the layer's accumulators may take, in any order of summation.

    Args:
        weights: the layer's.
        exact: its packed form where it has no table.
    """
    channels = len(weights.values)
    if exact is not None:
        products = 255 * np.abs(exact.values.astype(np.int64)).reshape(channels, -1)
        zero = exact.weight_zero
    else:
        assert weights.table is not None
        largest = np.abs(weights.table.astype(np.int64)).max(axis=1)
        products = largest[weights.values.astype(np.int64) + weights.offset].reshape(channels, -1)
        zero = weights.weight_zero
    fields = 255 * products.shape[1] * np.abs(zero.astype(np.int64))
    return int((products.sum(axis=1) + np.abs(weights.bias.astype(np.int64)) + fields).max())
