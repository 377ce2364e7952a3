"""Fits the two sides of an integer factorisation E = v.T @ u into 8 bits a side, by exchanges between planes.

For any k, adding k times plane j of u to plane i and taking k times plane i of v from plane j leaves the product
alone. Short factors u may cost long factors v; the search here weighs both sides (after Seysen, Simultaneous
reduction of a lattice basis and its reciprocal basis, 1993), measuring each factor by its spread (max - min) over
its content (greatest common divisor), because that is what has to fit 8 bits.
"""

from collections.abc import Callable
from math import gcd

import numpy as np
import numpy.typing as npt

from .lattice import IntArray

WIDTH = 255
"""Largest spread of a factor: -128..127 or 0..255."""

Floats = npt.NDArray[np.float64]
Cost = Callable[[Floats], Floats]

_SMALL = 1e-3  # weight of bits below the width: without it the search stops at the first plateau
_NOISE = 1e-9  # of a cost
_STEPS = np.array([*range(-32, 33), *(sign << power for power in range(6, 9) for sign in (1, -1))])


def content(vectors: IntArray) -> IntArray:
    """Greatest common divisor of each vector, at least 1; int64 [..., n] to [...]."""
    return np.maximum(np.gcd.reduce(vectors, axis=-1), 1)


def spread(vectors: IntArray) -> IntArray:
    """max - min of each vector in units of its content; the vectors hold a zero. int64 [..., n] to [...]."""
    return np.ptp(vectors, axis=-1) // content(vectors)


def fits(v: IntArray, u: IntArray) -> bool:
    """Whether every plane of v [r, m] and u [r, n] is within 8 bits on both sides."""
    return bool(max(spread(v).max(), spread(u).max()) <= WIDTH)


def balance(v: IntArray, u: IntArray) -> tuple[IntArray, IntArray]:
    """Exchanges multiples between planes until every plane fits, or no single exchange makes a pair narrower.

    Args:
        v: int64 [r, m], planes of the rows, each with a zero.
        u: int64 [r, n], planes of the columns, each with a zero.

    Returns:
        (v, u) with the same product v.T @ u.
    """
    v, u = v.copy(), u.copy()
    pairs = [(i, j) for i in range(len(v)) for j in range(len(v)) if i != j]
    for cost in (_excess_bits, _too_wide):
        moved = True
        while moved and not fits(v, u):
            moved = False
            for i, j in pairs:
                moved |= _exchange(v, u, i, j, cost)
    return v, u


def _exchange(v: IntArray, u: IntArray, i: int, j: int, cost: Cost) -> bool:
    """Makes the best exchange u_i + k u_j, v_j - k v_i in place; False where none is better than nothing.

    The common factor of plane i may stand on either side of it, and decides which k are integers.
    """
    for plane in (i, j):
        unit = content(u[plane])
        v[plane], u[plane] = v[plane] * unit, u[plane] // unit
    scale = int(content(v[i]))
    best = (float(_pair_cost(v[j], u[i], cost)) - _NOISE, 1, 0)
    for part in sorted({1, scale // gcd(scale, int(content(v[j]))), scale}):
        v_i, u_i = v[i] // part, u[i] * part
        multiples = np.unique([k + _STEPS for k in (-_projection(u_i, u[j]), _projection(v[j], v_i))])
        costs = _pair_cost(v[j] - multiples[:, None] * v_i, u_i + multiples[:, None] * u[j], cost)
        least = int(np.argmin(costs))
        best = min(best, (float(costs[least]), part, int(multiples[least])))
    _, part, multiple = best
    v[i], u[i] = v[i] // part, u[i] * part + multiple * u[j]
    v[j] -= multiple * v[i]
    return multiple != 0


def _projection(vector: IntArray, onto: IntArray) -> int:
    """Nearest multiple of `onto`, both taken without their means."""
    a, b = vector - vector.mean(), onto - onto.mean()
    return round(float(a @ b) / float(b @ b))


def _pair_cost(v: IntArray, u: IntArray, cost: Cost) -> Floats:
    return cost(_bits(v)) + cost(_bits(u))


def _bits(vectors: IntArray) -> Floats:
    """Bits of each factor above the width; negative where it fits."""
    return np.log2(np.maximum(spread(vectors), 1) / WIDTH)


def _excess_bits(bits: Floats) -> Floats:
    return np.maximum(bits, 0) + _SMALL * bits


def _too_wide(bits: Floats) -> Floats:
    """One for each factor that has to be cut, however little it is too wide."""
    return (bits > 0) + _SMALL * bits
