"""Requantisation as a TVM expression in 64-bit integers, bit for bit as `deploy.program` defines it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from approx.tvm_adapter import tvm_submodule
from deploy.program import IntegerWeights

Int64 = npt.NDArray[np.int64]


def rounding_terms(weights: IntegerWeights, constant: Int64 | int = 0) -> Int64:
    """int64 [O]: `(bias + constant) * multiplier + 2^(shift - 1)`, so that sum + bias is no addition of its own.

    Below 2^62 + 2^61 in size, and so is the whole product with it: 64 bits suffice.
    """
    half = np.int64(1) << (weights.shift.astype(np.int64) - 1)
    return (weights.bias.astype(np.int64) + constant) * weights.multiplier.astype(np.int64) + half


def padded_scaling(weights: IntegerWeights, lanes: int, constant: Int64 | int = 0) -> tuple[npt.NDArray[Any], ...]:
    """Multiplier, rounding terms and shift of each channel, padded with zeros to a multiple of `lanes`."""
    spare = (0, -len(weights.multiplier) % lanes)
    return tuple(np.pad(a, spare) for a in (weights.multiplier, rounding_terms(weights, constant), weights.shift))


def requantised(
    total: Any, multiplier: Any, rounding: Any, shift: Any, limits: tuple[Any, Any, Any], dtype: str
) -> Any:
    """`clamp(zero + ((total * multiplier + rounding) >> shift), low, high)` of scalar expressions.

    Args:
        total: int32 sum of products.
        multiplier: int32.
        rounding: int64, see `rounding_terms`.
        shift: int32.
        limits: int32 zero point, low, high.
        dtype: of the result.
    """
    tirx = tvm_submodule("tirx")
    zero, low, high = (limit.astype("int64") for limit in limits)
    product = total.astype("int64") * multiplier.astype("int64") + rounding
    moved = zero + (product >> shift.astype("int64"))
    return tirx.max(tirx.min(moved, high), low).astype(dtype)
