"""Exact integer linear algebra of small rank: pivots, the lattice of a row space, a short basis of it, coordinates.

Sources: Cohen, A Course in Computational Algebraic Number Theory (1993), 2.4 (Hermite form) and 2.6 (LLL).
Arrays of dtype object hold Python integers, which cannot overflow.
"""

from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
ObjectArray = npt.NDArray[Any]

_PRIME = 2**31 - 19  # products of two residues fit int64; 2**31 - 1 would divide differences of int32 extremes
_LOVASZ = Fraction(3, 4)


def pivots(matrix: IntArray, max_rank: int) -> tuple[list[int], list[int]] | None:
    """Rows and columns whose crossing is a largest nonsingular submatrix, or None where the rank is above max_rank.

    Elimination modulo a prime: the crossing is nonsingular for certain; that no larger one exists is as good
    as certain, and has to be confirmed by what is built on it.

    Args:
        matrix: int64 [m, n].
        max_rank: largest rank to accept.
    """
    left = matrix % _PRIME
    rows: list[int] = []
    columns: list[int] = []
    while left.any():
        if len(rows) == max_rank:
            return None
        row, column = divmod(int(np.flatnonzero(left)[0]), left.shape[1])
        factors = left[:, column] * pow(int(left[row, column]), -1, _PRIME) % _PRIME
        left = (left - factors[:, None] * left[row]) % _PRIME
        rows.append(row)
        columns.append(column)
    return rows, columns


def short_basis(rows: IntArray) -> ObjectArray:
    """Short basis of all integer vectors in the rational span of the rows (the saturated lattice).

    "Short" is measured after the mean of each vector is taken away, as a proxy of its spread (max - min).

    Args:
        rows: int64 [r, n], independent; no constant vector in their span.

    Returns:
        object [r, n], LLL-reduced.
    """
    basis = _saturated(rows.astype(object))
    total = basis.sum(axis=1)
    gram = basis.shape[1] * (basis @ basis.T) - np.outer(total, total)
    return _lll(gram) @ basis


def coordinates(rows: IntArray, basis: ObjectArray, columns: list[int]) -> ObjectArray:
    """Coordinates of vectors in a basis of their lattice: rows = coordinates @ basis.

    Args:
        rows: int64 [m, n], every one an integer combination of the basis.
        basis: object [r, n].
        columns: r columns in which the basis is nonsingular.

    Returns:
        object [m, r].
    """
    inverse = _inverse(basis[:, columns])
    denominator = lcm(*(value.denominator for value in inverse.flat))
    return rows[:, columns].astype(object) @ (inverse * denominator).astype(object) // denominator


def _saturated(rows: ObjectArray) -> ObjectArray:
    """Basis of the integer vectors in the span of independent rows.

    Column operations bring `rows` to the lower triangle `hermite`, so rows = hermite @ basis with a basis whose
    columns generate Z^r; forward substitution finds it.
    """
    hermite, basis = rows.copy(), rows.copy()
    for i in range(len(rows)):
        while True:
            size = np.abs(hermite[i, i:])
            nonzero = np.flatnonzero(size)
            pick = i + int(nonzero[np.argmin(size[nonzero])])
            hermite[:, [i, pick]] = hermite[:, [pick, i]]
            if len(nonzero) == 1:
                break
            hermite[:, i + 1 :] -= np.outer(hermite[:, i], hermite[i, i + 1 :] // hermite[i, i])
        basis[i] = (basis[i] - hermite[i, :i] @ basis[:i]) // hermite[i, i]
    return basis


def _lll(gram: ObjectArray) -> ObjectArray:
    """Unimodular matrix that LLL-reduces a basis with this Gram matrix (object [r, r], exact)."""
    size = len(gram)
    transform = np.array([[int(i == j) for j in range(size)] for i in range(size)], dtype=object)
    k = 1
    while k < size:
        for j in range(k - 1, -1, -1):
            mu, _ = _gram_schmidt(transform @ gram @ transform.T)
            transform[k] -= round(mu[k][j]) * transform[j]
        mu, norm = _gram_schmidt(transform @ gram @ transform.T)
        if norm[k] >= (_LOVASZ - mu[k][k - 1] ** 2) * norm[k - 1]:
            k += 1
        else:
            transform[[k - 1, k]] = transform[[k, k - 1]]
            k = max(1, k - 1)
    return transform


def _gram_schmidt(gram: ObjectArray) -> tuple[list[list[Fraction]], list[Fraction]]:
    """Gram-Schmidt coefficients mu[i][j], j < i, and squared lengths of the orthogonalised vectors."""
    mu: list[list[Fraction]] = []
    norm: list[Fraction] = []
    for i in range(len(gram)):
        dot: list[Fraction] = []  # of vector i with the orthogonalised vector j
        for j in range(i):
            dot.append(Fraction(gram[i, j]) - sum(mu[j][p] * dot[p] for p in range(j)))
        mu.append([value / length for value, length in zip(dot, norm, strict=True)])
        norm.append(Fraction(gram[i, i]) - sum(m * value for m, value in zip(mu[i], dot, strict=True)))
    return mu, norm


def _inverse(matrix: ObjectArray) -> ObjectArray:
    """Exact inverse of a nonsingular integer matrix, as Fractions."""
    size = len(matrix)
    left = [
        [Fraction(value) for value in row] + [Fraction(i == j) for j in range(size)] for i, row in enumerate(matrix)
    ]
    for i in range(size):
        pick = next(row for row in range(i, size) if left[row][i])
        left[i], left[pick] = left[pick], left[i]
        left[i] = [value / left[i][i] for value in left[i]]
        for row in range(size):
            if row != i and left[row][i]:
                factor = left[row][i]
                left[row] = [value - factor * base for value, base in zip(left[row], left[i], strict=True)]
    return np.array([row[size:] for row in left], dtype=object)
