"""Product tables as ``$readmemh`` files, for Verilog test benches and block memories."""

from __future__ import annotations

from multipliers.multiplier import Multiplier
from multipliers.writers.c_header import describe


def write_memory_hex(multiplier: Multiplier) -> str:
    """One product a line, in hexadecimal (two's complement when signed); address = {a, b}, operand b lowest.

    Raises:
        ValueError: the circuit is too wide for a table.
    """
    bits = multiplier.width_a + multiplier.width_b
    digits = -(-bits // 4)
    mask = (1 << bits) - 1
    lines = "\n".join(f"{product & mask:0{digits}x}" for product in multiplier.table.ravel().tolist())
    address = f"{{a[{multiplier.width_a - 1}:0], b[{multiplier.width_b - 1}:0]}}"
    return f"// {describe(multiplier)}\n// address = {address}\n{lines}\n"
