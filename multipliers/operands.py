"""Operand values: all of a width, or samples of circuits too wide for all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multipliers.arrays import Int64Array, IntArray
from multipliers.statistics import distribution

MAX_TABLE_BITS = 20
"""Operand bits (both together) up to which a circuit is held as a table (2**20 entries, 4 MiB)."""

SAMPLED_PAIRS = 1 << 18
"""Operand pairs drawn for the statistics of circuits too wide for a table."""


def operand_range(width: int, signed: bool) -> tuple[int, int]:
    """(lowest, highest) value of ``width`` bits, two's complement if signed."""
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)


def operand_values(width: int, signed: bool) -> IntArray:
    """Value of every bit pattern of an operand, int32 [2**width] (two's complement if signed)."""
    values = np.arange(1 << width, dtype=np.int32)
    if signed:
        values[1 << (width - 1) :] -= 1 << width
    return values


def operand_patterns(where: str, values: npt.ArrayLike, width: int, signed: bool) -> Int64Array:
    """Bit patterns of operand values, int64, same shape.

    Args:
        where: the operand, for messages.
        values: integers, any shape.
        width: bits of the operand.
        signed: whether it is two's complement.

    Raises:
        ValueError: if the values are no integers, or do not fit.
    """
    operand = np.asarray(values)
    low, high = operand_range(width, signed)
    if not np.issubdtype(operand.dtype, np.integer):
        raise ValueError(f"{where} must be integers, got {operand.dtype}")
    if operand.size and (int(operand.min()) < low or int(operand.max()) > high):
        raise ValueError(f"{where} must lie in {low}..{high}, got {int(operand.min())}..{int(operand.max())}")
    return np.asarray(operand.astype(np.int64) & ((1 << width) - 1))


def pair_patterns(
    where: str, a: npt.ArrayLike, b: npt.ArrayLike, widths: tuple[int, int], signed: bool
) -> tuple[Int64Array, Int64Array]:
    """Bit patterns of operands a and b of the circuit ``where``, int64, same shape.

    Raises:
        ValueError: if shapes differ, or an operand does not fit.
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"{where}: operand shapes differ, {np.shape(a)} and {np.shape(b)}")
    rows = operand_patterns(f"{where}: operand a", a, widths[0], signed)
    return rows, operand_patterns(f"{where}: operand b", b, widths[1], signed)


def sample_operands(
    widths: tuple[int, int],
    signed: bool,
    p: npt.ArrayLike | None = None,
    q: npt.ArrayLike | None = None,
    count: int = SAMPLED_PAIRS,
) -> tuple[Int64Array, Int64Array]:
    """``count`` independent operand pairs, always the same ones, int64 [count] each.

    Args:
        widths: (bits of operand a, bits of operand b).
        signed: whether the values are two's complement.
        p: histogram of operand a by bit pattern, [2**width_a]; uniform when None.
        q: histogram of operand b, [2**width_b]; uniform when None.
        count: pairs to draw.
    """
    generator = np.random.default_rng(0)
    drawn = []
    for label, width, histogram in (("p (operand a)", widths[0], p), ("q (operand b)", widths[1], q)):
        size = 1 << width
        if histogram is None:
            patterns = generator.integers(0, size, size=count)
        else:
            patterns = generator.choice(size, size=count, p=distribution(label, histogram, size))
        drawn.append(patterns - ((patterns >> (width - 1)) << width) if signed else patterns)
    return drawn[0], drawn[1]
