"""What a ``Multiplier`` refuses: widths, figures, tables and netlists that contradict each other."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from multipliers.arrays import IntArray
from multipliers.netlist import Netlist
from multipliers.operands import MAX_TABLE_BITS, operand_range


def checked_width(where: str, field: str, width: object) -> int:
    """A width as a Python integer, whatever kind of integer it is."""
    if not isinstance(width, int | np.integer) or width < 1:
        raise ValueError(f"{where}: {field} must be an integer >= 1, got {width!r}")
    return int(width)


def checked_figure(where: str, field: str, value: float | None) -> float | None:
    """A figure as a Python float, whatever kind of number it is."""
    optional = field in ("area_um2", "delay_ns")
    if value is None and optional:
        return None
    if value is None or not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{where}: {field} must be finite and >= 0{' or None' if optional else ''}, got {value!r}")
    return float(value)


def check_netlist(where: str, netlist: Netlist, expected: tuple[int, int, bool]) -> None:
    """Refuse a netlist of other (width_a, width_b, signed), or of more product bits than operand bits."""
    got = (netlist.width_a, netlist.width_b, netlist.signed)
    if got != expected:
        raise ValueError(
            f"{where}: expected (width_a, width_b, signed) = {expected}, the netlist '{netlist.name}' has {got}"
        )
    bits, most = len(netlist.outputs), netlist.width_a + netlist.width_b
    if bits > most:
        raise ValueError(
            f"{where}: expected a netlist of at most {most} product bits for {netlist.width_a} x {netlist.width_b}, "
            f"'{netlist.name}' has {bits}"
        )


def checked_table(where: str, table: npt.NDArray[np.integer], signed: bool, width_a: int, width_b: int) -> IntArray:
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
    low, high = operand_range(bits, signed)
    if int(table.min()) < low or int(table.max()) > high:
        kind = "signed" if signed else "unsigned"
        raise ValueError(
            f"{where}: products of {kind} {width_a} x {width_b} bit circuits lie in {low}..{high}, "
            f"got {int(table.min())}..{int(table.max())}; is 'signed' right?"
        )
    checked = np.array(table, dtype=np.int32, order="C")
    checked.setflags(write=False)
    return checked
