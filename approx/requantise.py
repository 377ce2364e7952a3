"""Fixed-point requantisation: integer accumulators to 8-bit codes, the same on every device.

    y = clamp(zero_point + ((acc * multiplier + 2^(shift - 1)) >> shift), low, high)

with a 64-bit product and a flooring shift. A real factor M is held as multiplier / 2^shift with 31 significant bits.
"""

import numpy as np
import numpy.typing as npt
import torch

MAX_SHIFT = 62


def fixed_point(
    factor: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Real factors as (multiplier, shift).

    Args:
        factor: float64 [C], 0 <= factor < 2^30.

    Returns:
        multiplier int32 [C] in [2^30, 2^31) (smaller, down to 0, only for factors below 2^-32), shift int32 [C].

    Raises:
        ValueError: a factor is negative, not finite or too large.
    """
    factor = np.asarray(factor, np.float64)
    if not np.isfinite(factor).all() or (factor < 0).any() or (factor >= 2.0**30).any():
        raise ValueError(
            f"requantisation factors must be finite and in [0, 2^30), got {factor.min()} .. {factor.max()}"
        )
    mantissa, exponent = np.frexp(factor)
    multiplier = np.rint(mantissa * 2.0**31).astype(np.int64)
    overflow = multiplier == 2**31
    multiplier, exponent = np.where(overflow, 2**30, multiplier), exponent + overflow
    shift = 31 - exponent.astype(np.int64)
    excess = np.maximum(shift - MAX_SHIFT, 0)
    return (multiplier >> np.minimum(excess, 63)).astype(np.int32), (shift - excess).astype(np.int32)


def fixed_point_sum(factors: tuple[float, ...]) -> tuple[tuple[int, ...], int]:
    """Real factors of the terms of a sum as multipliers over one shift, all below 2^21 so that 32 bits suffice.

    Raises:
        ValueError: the largest factor is outside [2^-40, 2^19).
    """
    largest = max(factors)
    if not 2.0**-40 <= largest < 2.0**19:
        raise ValueError(f"the scales of a sum must be within 2^-40 .. 2^19 of its output's, got {factors}")
    shift = min(20 - int(np.floor(np.log2(largest))), 30)
    multipliers = tuple(round(f * 2.0**shift) for f in factors)
    if max(multipliers) >= 1 << 21:
        shift -= 1
        multipliers = tuple(round(f * 2.0**shift) for f in factors)
    return multipliers, shift


def rescaled(accumulator: torch.Tensor, multiplier: torch.Tensor, shift: torch.Tensor, zero_point: int) -> torch.Tensor:
    """Accumulators to codes that are not clamped yet, see `requantise`."""
    wide = accumulator.to(torch.int64, copy=True)
    wide.mul_(multiplier).add_(torch.ones_like(shift).bitwise_left_shift_(shift - 1)).bitwise_right_shift_(shift)
    return wide.add_(zero_point)


def requantise(
    accumulator: torch.Tensor,
    multiplier: torch.Tensor,
    shift: torch.Tensor,
    zero_point: int,
    bounds: tuple[int, int],
) -> torch.Tensor:
    """Accumulators to codes.

    Args:
        accumulator: integer [..., C].
        multiplier, shift: int64 [C] or scalars.
        zero_point: output code of real zero.
        bounds: (low, high) of the clamp.

    Returns:
        int64 [..., C] codes.
    """
    return rescaled(accumulator, multiplier, shift, zero_point).clamp_(*bounds)
