"""Exported tables say what the circuit says."""

import re

import numpy as np
import pytest

from multipliers import generate
from multipliers.writers.c_header import write_c_header
from multipliers.writers.memory_hex import write_memory_hex


@pytest.mark.parametrize("name", ["mul8u_mitchell", "mul8s_trunc3", "mul8x2u_exact", "mul3s_exact"])
def test_memory_file_holds_every_product(name: str) -> None:
    circuit = generate(name)
    lines = [line for line in write_memory_hex(circuit).splitlines() if not line.startswith("//")]
    bits = circuit.width_a + circuit.width_b
    assert len(lines) == 1 << bits and {len(line) for line in lines} == {-(-bits // 4)}
    values = np.array([int(line, 16) for line in lines])
    if circuit.signed:
        values -= (values >> (bits - 1)) << bits
    np.testing.assert_array_equal(values.reshape(circuit.table.shape), circuit.table)


@pytest.mark.parametrize(
    ("name", "declaration"),
    [
        ("mul8u_exact", "static const uint16_t mul8u_exact[256][256]"),
        ("mul8s_exact", "static const int16_t mul8s_exact[256][256]"),
        ("mul4u_exact", "static const uint8_t mul4u_exact[16][16]"),
        ("mul8x4u_exact", "static const uint16_t mul8x4u_exact[256][16]"),
    ],
)
def test_c_header_takes_the_smallest_type(name: str, declaration: str) -> None:
    content = write_c_header(generate(name))
    assert declaration in content and re.search(r"MAE 0, WCE 0, energy \d\.\d+ of exact", content)


def test_names_become_c_identifiers() -> None:
    circuit = generate("mul2u_exact").renamed("mul@ab 1")
    assert "static const uint8_t mul_ab_1[4][4]" in write_c_header(circuit)


@pytest.mark.parametrize("write", [write_c_header, write_memory_hex])
def test_wide_circuits_have_no_table(write) -> None:
    with pytest.raises(ValueError, match="too wide for a product table"):
        write(generate("mul16u_trunc8"))


@pytest.mark.parametrize("name", ["8u", "a*/b", "line\nbreak", "größe"])
def test_odd_names_neither_end_comments_nor_break_identifiers(name: str) -> None:
    circuit = generate("mul2u_exact").renamed(name)
    header, memory = write_c_header(circuit), write_memory_hex(circuit)
    identifier = re.search(r"uint8_t (\w+)\[4\]", header)
    assert identifier is not None and re.fullmatch(r"[A-Za-z_]\w*", identifier[1], re.ASCII)
    assert header.count("*/") == 1 and len([line for line in memory.splitlines() if not line.startswith("//")]) == 16
