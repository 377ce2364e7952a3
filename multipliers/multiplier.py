"""A multiplier circuit as the rest of the toolkit sees it: a product table with its cost."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from multipliers.provenance import Provenance
from multipliers.statistics import ErrorStatistics, IntArray

MAX_TABLE_BITS = 20
"""Operand bits (both together) up to which a circuit is held as a table (2**20 entries, 4 MiB)."""


@dataclass(frozen=True, eq=False)
class Multiplier:
    """One multiplier circuit: what it computes and what it costs. Immutable; equality is identity.

    Attributes:
        name: unique within a ``Library``.
        table: products, int32 [2**width_a, 2**width_b], read-only; row = bit pattern of operand a,
            column = bit pattern of operand b (two's complement when ``signed``).
        signed: whether operands and product are two's complement.
        width_a: bits of operand a, >= 1; width_a + width_b <= 20.
        width_b: bits of operand b, >= 1.
        energy_pj: energy per operation, pJ, absolute, in the node named by ``provenance``.
        energy_relative: energy divided by that of the exact multiplier of the same widths and
            signedness in the same flow (exact = 1.0).
        area_um2: cell area, um^2, or None when unknown.
        delay_ns: critical path, ns, or None when unknown.
        provenance: origin of the figures.

    Raises:
        ValueError: on a table of wrong shape, type or range, or on impossible figures.
    """

    name: str
    table: IntArray
    signed: bool
    width_a: int
    width_b: int
    energy_pj: float
    energy_relative: float
    area_um2: float | None
    delay_ns: float | None
    provenance: Provenance

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("multiplier: the name is empty")
        where = f"multiplier '{self.name}'"
        _check_widths(where, self.width_a, self.width_b)
        object.__setattr__(self, "table", _checked_table(where, self.table, self.signed, self.width_a, self.width_b))
        for field in ("energy_pj", "energy_relative", "area_um2", "delay_ns"):
            value = getattr(self, field)
            optional = field in ("area_um2", "delay_ns")
            if value is None and optional:
                continue
            if value is None or not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{where}: {field} must be finite and >= 0{' or None' if optional else ''}, got {value!r}"
                )

    def __deepcopy__(self, memo: dict[int, object]) -> Multiplier:
        """Immutable, so a copied network shares its circuits."""
        return self

    @cached_property
    def content_hash(self) -> str:
        """sha256 (hex) of signedness, widths and table: identity of the function, without name or cost."""
        digest = hashlib.sha256(f"multiplier/1 {int(self.signed)} {self.width_a} {self.width_b}\n".encode())
        digest.update(self.table.astype("<i4").tobytes())
        return digest.hexdigest()

    def exact_products(self) -> IntArray:
        """Exact products of all operand pairs, int32 [2**width_a, 2**width_b], indexed like ``table``."""
        a = operand_values(self.width_a, self.signed)
        b = operand_values(self.width_b, self.signed)
        return np.multiply.outer(a, b)

    def error_map(self) -> IntArray:
        """Approximate minus exact product, int32 [2**width_a, 2**width_b]."""
        return self.table - self.exact_products()

    @property
    def is_exact(self) -> bool:
        """Whether every product is right."""
        return self.statistics().wce == 0

    def statistics(self, p: npt.ArrayLike | None = None, q: npt.ArrayLike | None = None) -> ErrorStatistics:
        """Error statistics, over all operand pairs or under operand histograms.

        Args:
            p: histogram of operand a by bit pattern, [2**width_a]; uniform when None.
            q: histogram of operand b by bit pattern, [2**width_b]; uniform when None.
        """
        if p is None and q is None:
            return self._uniform_statistics
        return ErrorStatistics.of(self.table, self.exact_products(), p, q)

    @cached_property
    def _uniform_statistics(self) -> ErrorStatistics:
        return ErrorStatistics.of(self.table, self.exact_products())


def operand_values(width: int, signed: bool) -> IntArray:
    """Value of every bit pattern of an operand, int32 [2**width] (two's complement if signed)."""
    values = np.arange(1 << width, dtype=np.int32)
    if signed:
        values[1 << (width - 1) :] -= 1 << width
    return values


def _check_widths(where: str, width_a: int, width_b: int) -> None:
    if width_a < 1 or width_b < 1 or width_a + width_b > MAX_TABLE_BITS:
        raise ValueError(
            f"{where}: widths must be >= 1 and at most {MAX_TABLE_BITS} bits together, "
            f"got {width_a} x {width_b}; evaluate wider circuits through their Netlist"
        )


def _checked_table(where: str, table: npt.NDArray[np.integer], signed: bool, width_a: int, width_b: int) -> IntArray:
    """Validate a product table and return it as a read-only C-contiguous int32 copy."""
    if not isinstance(table, np.ndarray) or not np.issubdtype(table.dtype, np.integer):
        got = table.dtype if isinstance(table, np.ndarray) else type(table).__name__
        raise ValueError(f"{where}: table must be an integer numpy array, got {got}")
    shape = (1 << width_a, 1 << width_b)
    if table.shape != shape:
        raise ValueError(
            f"{where}: table of a {width_a} x {width_b} bit circuit must have shape {shape}, got {table.shape}"
        )
    bits = width_a + width_b
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if int(table.min()) < low or int(table.max()) > high:
        kind = "signed" if signed else "unsigned"
        raise ValueError(
            f"{where}: products of a {kind} {width_a} x {width_b} bit circuit lie in {low}..{high}, "
            f"got {int(table.min())}..{int(table.max())}; is 'signed' right?"
        )
    checked = np.array(table, dtype=np.int32, order="C")
    checked.setflags(write=False)
    return checked
