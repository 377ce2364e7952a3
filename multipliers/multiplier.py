"""A multiplier circuit as the rest of the toolkit sees it: what it computes and what it costs."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from multipliers.netlist import Netlist
from multipliers.netlist_arrays import NetlistArrays
from multipliers.operands import MAX_TABLE_BITS, operand_values, sample_operands
from multipliers.provenance import Provenance, PublishedFigures
from multipliers.statistics import ErrorStatistics, IntArray


@dataclass(frozen=True, eq=False)
class Multiplier:
    """One multiplier circuit. Immutable; equality is identity.

    Attributes:
        name: unique within a ``Library``.
        function: what it computes: a product table, int [2**width_a, 2**width_b] (row = bit pattern of operand a,
            column = bit pattern of operand b, two's complement when ``signed``), or a netlist, of any width.
        signed: whether operands and product are two's complement.
        width_a: bits of operand a, >= 1.
        width_b: bits of operand b, >= 1.
        energy_pj: energy per operation, pJ, absolute, in the node named by ``provenance``.
        energy_relative: energy divided by that of the exact multiplier of the same widths and
            signedness in the same flow (exact = 1.0).
        area_um2: cell area, um^2, or None when unknown.
        delay_ns: critical path, ns, or None when unknown.
        provenance: origin of the figures.
        published: power, area and delay its authors print, where they do and the figures above are our own.

    Raises:
        ValueError: on a table of wrong shape, type or range, a netlist of other widths or signedness, or on
            impossible figures.
    """

    name: str
    function: IntArray | Netlist
    signed: bool
    width_a: int
    width_b: int
    energy_pj: float
    energy_relative: float
    area_um2: float | None
    delay_ns: float | None
    provenance: Provenance
    published: PublishedFigures | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("multiplier: the name is empty")
        where = f"multiplier '{self.name}'"
        if self.width_a < 1 or self.width_b < 1:
            raise ValueError(f"{where}: widths must be >= 1, got {self.width_a} x {self.width_b}")
        if isinstance(self.function, Netlist):
            _check_netlist(where, self.function, (self.width_a, self.width_b, self.signed))
        else:
            checked = _checked_table(where, self.function, self.signed, self.width_a, self.width_b)
            object.__setattr__(self, "function", checked)
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

    def renamed(self, name: str) -> Multiplier:
        """The same circuit under another name."""
        return dataclasses.replace(self, name=name)

    @property
    def netlist(self) -> Netlist | None:
        """The gates, where they are known."""
        return self.function if isinstance(self.function, Netlist) else None

    @property
    def has_table(self) -> bool:
        """Whether the circuit is narrow enough (20 operand bits) for a product table."""
        return self.width_a + self.width_b <= MAX_TABLE_BITS

    @cached_property
    def table(self) -> IntArray:
        """Products of all operand pairs, int32 [2**width_a, 2**width_b], read-only, indexed by bit pattern.

        Raises:
            ValueError: the circuit is too wide for a table; use ``multiply``.
        """
        if not isinstance(self.function, Netlist):
            return self.function
        if not self.has_table:
            raise ValueError(
                f"multiplier '{self.name}': {self.width_a} x {self.width_b} bits are too wide for a product table "
                f"(at most {MAX_TABLE_BITS} bits together); use multiply() on operand arrays"
            )
        table = self.function.product_table()
        table.setflags(write=False)
        return table

    def multiply(self, a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Products of arrays of operands, at any width.

        Args:
            a: integers that fit operand a, any shape.
            b: integers that fit operand b, same shape.

        Returns:
            products, int64, same shape.

        Raises:
            ValueError: shapes differ, or an operand does not fit.
        """
        if isinstance(self.function, Netlist) and not self.has_table:
            return self.function.multiply(a, b)
        first, second = np.asarray(a), np.asarray(b)
        if first.shape != second.shape:
            raise ValueError(f"multiplier '{self.name}': operand shapes differ, {first.shape} and {second.shape}")
        rows = _patterns(f"multiplier '{self.name}': operand a", first, self.width_a, self.signed)
        columns = _patterns(f"multiplier '{self.name}': operand b", second, self.width_b, self.signed)
        return self.table[rows, columns].astype(np.int64)

    @cached_property
    def content_hash(self) -> str:
        """sha256 (hex), the identity of the function, without name or cost.

        Of signedness, widths and table; of circuits too wide for a table, of signedness, widths and gates.
        """
        digest = hashlib.sha256(f"multiplier/1 {int(self.signed)} {self.width_a} {self.width_b}\n".encode())
        if self.has_table:
            digest.update(self.table.astype("<i4").tobytes())
        else:
            assert isinstance(self.function, Netlist)
            digest.update(NetlistArrays.of(self.function).to_bytes())
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
        """Whether every product is right (every sampled one, of circuits too wide for a table)."""
        return self.statistics().wce == 0

    def statistics(self, p: npt.ArrayLike | None = None, q: npt.ArrayLike | None = None) -> ErrorStatistics:
        """Error statistics, over all operand pairs or under operand histograms.

        Circuits too wide for a table are sampled (``ErrorStatistics.sampled_pairs``).

        Args:
            p: histogram of operand a by bit pattern, [2**width_a]; uniform when None.
            q: histogram of operand b by bit pattern, [2**width_b]; uniform when None.
        """
        if p is None and q is None:
            return self._uniform_statistics
        return self._statistics(p, q)

    @cached_property
    def _uniform_statistics(self) -> ErrorStatistics:
        return self._statistics(None, None)

    def _statistics(self, p: npt.ArrayLike | None, q: npt.ArrayLike | None) -> ErrorStatistics:
        if self.has_table:
            return ErrorStatistics.of(self.table, self.exact_products(), p, q)
        a, b = sample_operands((self.width_a, self.width_b), self.signed, p, q)
        return ErrorStatistics.sampled(self.multiply(a, b), a * b)


def _patterns(where: str, operand: npt.NDArray[np.generic], width: int, signed: bool) -> npt.NDArray[np.int64]:
    """Bit patterns of operand values, refused where one does not fit."""
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    if not np.issubdtype(operand.dtype, np.integer):
        raise ValueError(f"{where} must be integers, got {operand.dtype}")
    if operand.size and (int(operand.min()) < low or int(operand.max()) > high):
        raise ValueError(f"{where} must lie in {low}..{high}, got {int(operand.min())}..{int(operand.max())}")
    return operand.astype(np.int64) & ((1 << width) - 1)


def _check_netlist(where: str, netlist: Netlist, expected: tuple[int, int, bool]) -> None:
    got = (netlist.width_a, netlist.width_b, netlist.signed)
    if got != expected:
        raise ValueError(
            f"{where}: expected (width_a, width_b, signed) = {expected}, the netlist '{netlist.name}' has {got}"
        )


def _checked_table(where: str, table: npt.NDArray[np.integer], signed: bool, width_a: int, width_b: int) -> IntArray:
    """Validate a product table and return it as a read-only C-contiguous int32 copy."""
    if width_a + width_b > MAX_TABLE_BITS:
        raise ValueError(
            f"{where}: a product table may have {MAX_TABLE_BITS} operand bits at most, "
            f"got {width_a} x {width_b}; give the netlist of wider circuits"
        )
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
