"""Imports product tables from C headers, as simulators such as TFApprox, AdaPT and torch-approx ship them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.importers.outcome import Import
from multipliers.importers.table_pair import EXACT_ENERGY_PJ
from multipliers.library import Library
from multipliers.multiplier import Multiplier
from multipliers.operands import MAX_TABLE_BITS, operand_values
from multipliers.provenance import Provenance

_DECLARATION = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*(?P<dimensions>(?:\[[^\]]*\]\s*){1,2})=\s*\{")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)")
_LITERAL = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*")


@dataclass(frozen=True)
class TableReading:
    """What a C table does not tell about itself.

    Attributes:
        energy_relative: energy of the circuit over the exact multiplier's, as its publication says.
        signed: whether operands are two's complement; when None, whether a product is negative.
        by_value: rows and columns of a signed table are ordered by value (-128 first), not by bit pattern (0 first).
        source: who published it; the file's name when None.
    """

    energy_relative: float
    signed: bool | None = None
    by_value: bool = False
    source: str | None = None


def import_c_tables(path: str | Path, reading: TableReading) -> Import:
    """Every product table ``NAME[rows][columns] = {...}`` (or ``NAME[entries]``, square) of a C file.

    Rows belong to operand a, columns to operand b. Products given as unsigned patterns of a signed circuit are
    reinterpreted.

    Raises:
        ValueError: no table, a table of no power-of-two shape, products out of range, or an order of operands that
            fits the other convention far better.
    """
    path = Path(path)
    text = _COMMENT.sub(" ", path.read_text(encoding="utf-8", errors="replace"))
    circuits = [_multiplier(path, name, table, reading) for name, table in _tables(path, text)]
    if not circuits:
        raise ValueError(f"{path}: expected a product table such as 'int16_t NAME[256][256] = {{...}};', found none")
    return Import(Library(circuits))


def _tables(path: Path, text: str) -> Iterator[tuple[str, Int64Array]]:
    for match in _DECLARATION.finditer(text):
        body = _braced(path, text, match.end(), match["name"])
        literals = body.replace("{", " ").replace("}", " ").replace(",", " ").split()
        odd = next((literal for literal in literals if not _LITERAL.fullmatch(literal)), None)
        if odd is not None:
            raise ValueError(f"{path}: table '{match['name']}' must hold integers, got {odd!r}")
        values = np.array([int(number, 0) for number in _NUMBER.findall(body)], dtype=np.int64)
        rows = body.count("{") or _square_root(values.size)
        bits = values.size.bit_length() - 1
        if rows < 2 or values.size != 1 << bits or values.size % rows or rows & (rows - 1) or bits > MAX_TABLE_BITS:
            raise ValueError(
                f"{path}: table '{match['name']}' must have 2^a rows of 2^b products, at most {MAX_TABLE_BITS} bits "
                f"together; got {values.size} products in {rows} rows"
            )
        yield match["name"], values.reshape(rows, -1)


def _braced(path: Path, text: str, start: int, name: str) -> str:
    """The text from ``start`` to the brace that closes the one before it."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return text[start : match.start()]
    raise ValueError(f"{path}: table '{name}' has no closing brace; the file is cut off")


def _square_root(count: int) -> int:
    bits = count.bit_length() - 1
    return 1 << (bits // 2) if bits % 2 == 0 else 0


def _multiplier(path: Path, name: str, table: Int64Array, reading: TableReading) -> Multiplier:
    width_a, width_b = (size.bit_length() - 1 for size in table.shape)
    signed = bool(table.min() < 0) if reading.signed is None else reading.signed
    bits = width_a + width_b
    if signed and table.min() >= 0 and table.max() >= 1 << (bits - 1):
        table = table - ((table >> (bits - 1)) << bits)
    if signed:
        table = _by_pattern(path, name, table, reading.by_value)
    return Multiplier(
        name=name,
        function=table.astype(np.int32),
        signed=signed,
        width_a=width_a,
        width_b=width_b,
        energy_pj=reading.energy_relative * EXACT_ENERGY_PJ * width_a * width_b / 64,
        energy_relative=reading.energy_relative,
        area_um2=None,
        delay_ns=None,
        provenance=Provenance(
            source=f"{reading.source or path.stem}: {path.name}",
            node="45 nm, 0.9 V",
            method=(
                "energy_relative as given at import; the absolute scale is assumed: energy_pj = energy_relative x "
                f"{EXACT_ENERGY_PJ} pJ (45 nm int8 multiplication, Horowitz ISSCC 2014) x product of widths / 64"
            ),
            uncertainty=1.0,
        ),
    )


def _by_pattern(path: Path, name: str, table: Int64Array, by_value: bool) -> Int64Array:
    """A signed table with rows and columns in the order of bit patterns."""
    swapped = np.fft.fftshift(table)  # halves exchanged: pattern order to value order and back
    exact = np.multiply.outer(*(operand_values(size.bit_length() - 1, True) for size in table.shape))
    chosen, other = (swapped, table) if by_value else (table, swapped)
    error, other_error = (float(np.abs(candidate - exact).mean()) for candidate in (chosen, other))
    if other_error < error / 4:
        orders = ("bit pattern (0 first)", "value (lowest first)")
        raise ValueError(
            f"{path}: table '{name}' read as ordered by {orders[by_value]} has a mean error of {error:.4g}, "
            f"ordered by {orders[not by_value]} only {other_error:.4g}; say the order it really has"
        )
    return chosen
