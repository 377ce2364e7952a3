"""Product tables as C headers, for simulators and firmware."""

from __future__ import annotations

import re

import numpy as np

from multipliers.multiplier import Multiplier

_TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.int32)


def write_c_header(multiplier: Multiplier) -> str:
    """A header with ``static const TYPE NAME[2^width_a][2^width_b]``, indexed by bit patterns, operand a first.

    Raises:
        ValueError: the circuit is too wide for a table.
    """
    table = multiplier.table
    kind = next(np.dtype(t).name for t in _TYPES if np.iinfo(t).min <= table.min() and table.max() <= np.iinfo(t).max)
    name = re.sub(r"^(?=\d)|\W", "_", multiplier.name, flags=re.ASCII)
    guard = f"PICOJOULE_{name.upper()}_H"
    rows = ",\n".join("    {" + ", ".join(map(str, row)) + "}" for row in table.tolist())
    return (
        f"/* {describe(multiplier)}\n"
        f" * {name}[a][b], indexed by the bit patterns of the operands. */\n"
        f"#ifndef {guard}\n#define {guard}\n#include <stdint.h>\n\n"
        f"static const {kind}_t {name}[{table.shape[0]}][{table.shape[1]}] = {{\n{rows}\n}};\n\n#endif\n"
    )


def describe(multiplier: Multiplier) -> str:
    """Name, widths, error and identity in one line, for the head of an exported file."""
    statistics = multiplier.statistics()
    kind = "signed" if multiplier.signed else "unsigned"
    name = re.sub(r"[^ -)+-~]", "?", multiplier.name)  # nothing that ends a comment or a line
    return (
        f"{name}: {kind} {multiplier.width_a} x {multiplier.width_b} bit multiplier, "
        f"MAE {statistics.mae:g}, WCE {statistics.wce}, energy {multiplier.energy_relative:.3f} of exact, "
        f"content {multiplier.content_hash[:16]}"
    )
