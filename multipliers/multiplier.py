"""A multiplier circuit as the rest of the toolkit sees it: what it computes and what it costs."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from multipliers.arrays import Int64Array, IntArray
from multipliers.multiplier_checks import check_netlist, checked_figure, checked_table, checked_width
from multipliers.netlist import Netlist
from multipliers.netlist_arrays import NetlistArrays
from multipliers.operands import MAX_TABLE_BITS, operand_values, pair_patterns, sample_operands
from multipliers.provenance import Provenance, PublishedFigures
from multipliers.statistics import ErrorStatistics


@dataclass(frozen=True, eq=False, repr=False)
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
        ValueError: on a table of wrong shape, type or range, a netlist of other widths or signedness or of more
            product bits than both operands have, or on impossible figures.
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
        self._set("signed", bool(self.signed))
        for field in ("width_a", "width_b"):
            self._set(field, checked_width(where, field, getattr(self, field)))
        for field in ("energy_pj", "energy_relative", "area_um2", "delay_ns"):
            self._set(field, checked_figure(where, field, getattr(self, field)))
        if isinstance(self.function, Netlist):
            check_netlist(where, self.function, (self.width_a, self.width_b, self.signed))
        else:
            checked = checked_table(where, self.function, self.signed, self.width_a, self.width_b)
            self._set("function", checked)

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        kind = "signed" if self.signed else "unsigned"
        return (
            f"Multiplier({self.name!r}, {kind} {self.width_a} x {self.width_b} bits, "
            f"energy {self.energy_relative:.3f} of exact)"
        )

    def __deepcopy__(self, memo: dict[int, object]) -> Multiplier:
        """Immutable, so a copied network shares its circuits."""
        return self

    def __setstate__(self, state: dict[str, object]) -> None:
        """Tables stay read-only in another process, where numpy would make them writeable."""
        for field, value in state.items():
            self._set(field, value)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

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

    def multiply(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Int64Array:
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
        widths = self.width_a, self.width_b
        rows, columns = pair_patterns(f"multiplier '{self.name}'", a, b, widths, self.signed)
        return np.asarray(self.table[rows, columns], dtype=np.int64)

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
