"""Cuts factors that are too wide to 8 bits, so that what remains of the table has as small a rank as can be."""

from itertools import product

import numpy as np

from .balance import WIDTH, content, spread
from .lattice import IntArray


def narrowed(v: IntArray, u: IntArray) -> list[IntArray]:
    """Versions of v with spreads within 8 bits; the remainder of a version is (v - version).T @ u.

    Args:
        v: int64 [r, m], factors that start with zero.
        u: int64 [r, n], the other side.

    Returns:
        int64 [r, m] each, starting with zeros; v itself where nothing is too wide.
    """
    wide = spread(v) > WIDTH
    if not wide.any():
        return [v]
    step = _step(v[wide], u[wide])
    versions = []
    for cut in [_low_bytes(v[wide])] if step is None else [step, _low_bytes(v[wide])]:
        version = v.copy()
        version[wide] = cut - cut[:, :1]
        versions.append(version)
    return versions


def _low_bytes(v: IntArray) -> IntArray:
    """The lowest 8 bits of each factor, counted from its smallest entry and in units of its content."""
    unit = content(v)[:, None]
    return (v - v.min(axis=1, keepdims=True)) // unit % (WIDTH + 1) * unit


def _step(v: IntArray, u: IntArray) -> IntArray | None:
    """Lowers all factors from the same row on, each by a constant, so that the remainder has rank 1.

    Sign-magnitude weights ask for it: the products of either sign fit, those of both do not. None where no
    row is such a border. The constants are chosen so that the remainder is narrow.
    """
    unit = content(v)
    scaled = v // unit[:, None]
    low, high = np.minimum.accumulate, np.maximum.accumulate
    above, below = scaled[:, :-1], scaled[:, :0:-1]  # rows before each border, and rows after it, last first
    low_before, high_before = low(above, axis=1), high(above, axis=1)
    low_after, high_after = low(below, axis=1)[:, ::-1], high(below, axis=1)[:, ::-1]
    possible = ((high_before - low_before <= WIDTH) & (high_after - low_after <= WIDTH)).all(axis=0)
    if not possible.any():
        return None
    border = int(np.argmax(possible))
    smallest, largest = (high_after - low_before - WIDTH)[:, border], (low_after - high_before + WIDTH)[:, border]
    constants = _narrowest(smallest, largest, u * unit[:, None])
    lowered = v.copy()
    lowered[:, border + 1 :] -= (constants * unit)[:, None]
    return lowered


def _narrowest(smallest: IntArray, largest: IntArray, u: IntArray) -> IntArray:
    """Constants [r] in their ranges for which the sum of constant times u has the smallest spread."""
    powers = [sign << power for power in range(9) for sign in (1, -1)]
    choices = [
        sorted({int(a), int(b), *(p for p in powers if a <= p <= b)}) for a, b in zip(smallest, largest, strict=True)
    ]
    candidates = np.array(list(product(*choices)))
    return candidates[np.argmin(spread(candidates @ u))]
