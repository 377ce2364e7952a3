"""C tables: what simulators ship, and what `write_c_header` writes."""

from pathlib import Path

import numpy as np
import pytest

from multipliers import Multiplier, generate
from multipliers.importers.c_table import TableReading, import_c_tables
from multipliers.operands import operand_values
from multipliers.writers.c_header import write_c_header

HALF = TableReading(energy_relative=0.5)


def exact(bits: int, signed: bool) -> np.ndarray:
    values = operand_values(bits, signed)
    return np.multiply.outer(values, values)


def text(table: np.ndarray, name: str = "lut", declaration: str | None = None) -> str:
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in table.tolist())
    return f"#include <stdint.h>\nconst int16_t {declaration or f'{name}[16][16]'} = {{\n{rows}\n}};\n"


def one(tmp_path: Path, content: str, reading: TableReading = HALF) -> Multiplier:
    path = tmp_path / "tables.h"
    path.write_text(content)
    (multiplier,) = import_c_tables(path, reading).library.values()
    return multiplier


@pytest.mark.parametrize("name", ["mul8u_drum4", "mul8s_trunc5", "mul8x4u_trunc3", "mul4s_exact"])
def test_an_exported_header_comes_back(tmp_path: Path, name: str) -> None:
    circuit = generate(name)
    back = one(tmp_path, write_c_header(circuit))
    assert back.content_hash == circuit.content_hash
    assert back.name == name and back.signed == circuit.signed
    assert back.energy_relative == 0.5
    assert back.energy_pj == pytest.approx(0.1 * circuit.width_a * circuit.width_b / 64)


def test_flat_tables_comments_and_suffixes(tmp_path: Path) -> None:
    numbers = ", ".join(f"0x{v:x}u" for v in exact(4, False).ravel().tolist())
    content = f"/* lut[2][2] = {{1}} */ // lut2[1] = {{0}}\nuint8_t lut[256] = {{ {numbers}, }};"
    assert one(tmp_path, content).is_exact


def test_several_tables_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "many.h"
    path.write_text(text(exact(4, False), "first") + text(np.minimum(exact(4, False), 100), "second"))
    library = import_c_tables(path, HALF).library
    assert list(library) == ["first", "second"]
    assert library["first"].is_exact and library["second"].statistics().wce == 125
    assert "many.h" in library["first"].provenance.source


def test_signed_products_as_unsigned_patterns_are_reinterpreted(tmp_path: Path) -> None:
    table = exact(4, True) & 0xFF
    assert not one(tmp_path, text(table)).signed
    circuit = one(tmp_path, text(table), TableReading(0.5, signed=True))
    assert circuit.signed and circuit.is_exact


def test_signed_tables_in_order_of_value(tmp_path: Path) -> None:
    table = np.fft.fftshift(exact(4, True))
    assert table[0, 0] == 64 and table[-1, -1] == 49
    assert one(tmp_path, text(table), TableReading(0.5, by_value=True)).is_exact
    with pytest.raises(ValueError, match=r"ordered by bit pattern .* mean error .* ordered by value"):
        one(tmp_path, text(table))
    with pytest.raises(ValueError, match=r"ordered by value .* mean error .* ordered by bit pattern"):
        one(tmp_path, text(exact(4, True)), TableReading(0.5, by_value=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("int main() { return 0; }", "expected a product table"),
        ("int lut[4][4] = {{1, 2}, {3, 4}", "no closing brace"),
        ("int lut[3] = {1, 2, 3};", "2\\^a rows of 2\\^b products"),
        ("int lut[2][2] = {{1, 2}, {N, 4}};", "must hold integers, got 'N'"),
        ("float lut[2][2] = {{1.5, 2}, {3, 4}};", "must hold integers, got '1.5'"),
        ("int lut[2][2] = {{0, 0}, {0, 9}};", "products of unsigned 1 x 1 bit circuits lie in 0..3"),
        ("int lut[] = {};", "2\\^a rows"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one(tmp_path, content)
