"""Operand values: all of a width, or samples of circuits too wide for all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multipliers.statistics import IntArray, distribution

MAX_TABLE_BITS = 20
"""Operand bits (both together) up to which a circuit is held as a table (2**20 entries, 4 MiB)."""

SAMPLED_PAIRS = 1 << 18
"""Operand pairs drawn for the statistics of circuits too wide for a table."""

Int64Array = npt.NDArray[np.int64]


def operand_values(width: int, signed: bool) -> IntArray:
    """Value of every bit pattern of an operand, int32 [2**width] (two's complement if signed)."""
    values = np.arange(1 << width, dtype=np.int32)
    if signed:
        values[1 << (width - 1) :] -= 1 << width
    return values


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
