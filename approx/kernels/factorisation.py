"""Exact integer factorisation of a product table into few planes of 8-bit factors.

    table[w, x] = f[w] + g[x] + Σ_q scale[q] v[q, w] u[q, x]

A table with R planes is an ordinary int8 convolution with R times the channels. Taking the first row and column
away leaves a table E of rank r with nothing of f and g in it. The rows of E span a lattice; a short basis of it
gives u, the coordinates of the rows give v (`lattice`), and multiples move between the planes until both sides
fit 8 bits (`balance`). The columns of E are tried in the same way. A factor that stays too wide is cut to
8 bits (`narrow`), and the remainder of the table, of small rank again, is factorised in its turn.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from .balance import WIDTH, balance, content, fits, spread
from .geometry import check_table
from .lattice import IntArray, coordinates, pivots, short_basis
from .narrow import narrowed

_INT32 = np.iinfo(np.int32)
_LARGEST = 2**46  # of a product of two factors: beyond it nothing fits, and the search stays within 64 bits

Planes = tuple[IntArray, IntArray]
"""(v [R, m], u [R, n]): int64 factors without limits, zero in their first column; their table is v.T @ u."""


@dataclass(frozen=True, eq=False)
class Factorisation:
    """table[w, x] = f[w] + g[x] + Σ_q scale[q] v[q, w] u[q, x], exactly.

    Attributes:
        f: int32 [n_w].
        g: int32 [256]; all zero where a shift of v can make it so.
        scale: int32 [R], positive.
        v: int8 [R, n_w], weight factors.
        u: uint8 [R, 256], code factors; the smallest entry of each plane is 0.
    """

    f: torch.Tensor
    g: torch.Tensor
    scale: torch.Tensor
    v: torch.Tensor
    u: torch.Tensor

    @property
    def planes(self) -> int:
        """R, the number of 8-bit products that replace one look-up."""
        return len(self.scale)

    def table(self) -> torch.Tensor:
        """The table these factors stand for, int32 [n_w, 256]."""
        total = self.f.long()[:, None] + self.g.long()
        return (total + (self.v.long() * self.scale.long()[:, None]).T @ self.u.long()).int()


def factorise(table: torch.Tensor, max_planes: int = 5) -> Factorisation | None:
    """Factorises a table exactly, or returns None where no factorisation with so few planes is found.

    The result is checked entry by entry and depends on nothing but the arguments. Where the search finds as
    many planes as the rank of E, no factorisation has fewer; otherwise there may be one.

    Args:
        table: products, int32 [n_w, 256], on the CPU.
        max_planes: largest number of planes of use to the caller.

    Raises:
        ValueError: the table has another dtype, shape or memory layout, or max_planes is negative.
    """
    check_table(table)
    if max_planes < 0:
        raise ValueError(f"expected max_planes >= 0, got {max_planes}")
    values = table.numpy().astype(np.int64)
    planes = _planes(_centred(values), max_planes)
    return None if planes is None else _assemble(values, *planes)


def _centred(values: IntArray) -> IntArray:
    """The table without its first row and column."""
    return values - values[:, :1] - values[:1] + values[0, 0]


def _planes(table: IntArray, limit: int) -> Planes | None:
    """At most `limit` planes within 8 bits whose table is the given one, or None."""
    crossing = pivots(table, limit)
    if crossing is None:
        return None
    if not crossing[0]:
        return np.zeros((0, len(table)), np.int64), np.zeros((0, table.shape[1]), np.int64)
    wide = []
    for transposed in (False, True):
        found = _of_lattice(table.T, *reversed(crossing)) if transposed else _of_lattice(table, *crossing)
        if found is None:
            continue
        v, u = reversed(found) if transposed else found
        if fits(v, u):
            return v, u
        wide.append((v, u))
    best: Planes | None = None
    for v, u in wide:
        for low_v, low_u in product(narrowed(v, u), narrowed(u, v)):
            rest = _planes(table - low_v.T @ low_u, limit - len(v))
            if rest is not None:
                best = np.concatenate([low_v, rest[0]]), np.concatenate([low_u, rest[1]])
                limit = len(best[0]) - 1
    return best


def _of_lattice(table: IntArray, rows: list[int], columns: list[int]) -> Planes | None:
    """As many planes as the rank: a short basis of the row lattice, and coordinates; None where not even near."""
    u = short_basis(table[rows])
    v = coordinates(table, u, columns).T
    if np.abs(v).max() * np.abs(u).max() > _LARGEST:
        return None
    return balance(v.astype(np.int64), u.astype(np.int64))


def _assemble(values: IntArray, v: IntArray, u: IntArray) -> Factorisation | None:
    """Shifts and scales planes into their ranges; None where f, g or scale leave int32."""
    scale = content(v) * content(u)
    v, u = v // content(v)[:, None], u // content(u)[:, None]
    first = u[np.arange(len(u)), np.argmax(u != 0, axis=1)]
    v, u = v * np.sign(first)[:, None], u * np.sign(first)[:, None]
    order = np.argsort(-scale * spread(v) * spread(u), kind="stable")
    scale, v, u = scale[order], v[order], u[order]
    u = u - u.min(axis=1, keepdims=True)
    v = v + _shift(values[0] - values[0, 0], v, scale[:, None] * u)[:, None]
    rest = values - (v * scale[:, None]).T @ u
    f, g = rest[:, 0], rest[0] - rest[0, 0]
    move = np.clip(0, max(_INT32.min - f.min(), g.max() - _INT32.max), min(_INT32.max - f.max(), g.min() - _INT32.min))
    f, g = f + move, g - move
    ranges = [(f, torch.int32), (g, torch.int32), (scale, torch.int32), (v, torch.int8), (u, torch.uint8)]
    if any(part.size and not _holds(kind, part) for part, kind in ranges):
        return None
    found = Factorisation(*(torch.from_numpy(np.ascontiguousarray(part)).to(kind) for part, kind in ranges))
    return found if np.array_equal(found.table().numpy(), values) else None


def _shift(row: IntArray, v: IntArray, u: IntArray) -> IntArray:
    """Constants [R] to add to v, which holds row 0 as zeros: those that make up `row` from u, if v can hold them."""
    lowest, highest = -128 - v.min(axis=1), WIDTH - 128 - v.max(axis=1)
    centred = (u - u[:, :1]).astype(np.float64)
    solution = np.rint(np.linalg.lstsq(centred.T, row.astype(np.float64), rcond=None)[0]).astype(np.int64)
    exact = np.array_equal(solution @ (u - u[:, :1]), row)
    return np.clip(solution if exact else 0, lowest, highest)


def _holds(kind: torch.dtype, values: IntArray) -> bool:
    limits = torch.iinfo(kind)
    return bool(limits.min <= values.min() and values.max() <= limits.max)
