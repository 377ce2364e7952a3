"""Yosys JSON: gate level, word level, hierarchy, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multipliers import operand_values
from multipliers.readers import NetlistError, parse_yosys_json, read_yosys_json

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize(
    ("name", "widths", "signed"),
    [("yosys_gates", (2, 2), False), ("yosys_words", (2, 2), True), ("yosys_hierarchy", (3, 2), False)],
)
def test_every_level_gives_the_exact_product(name: str, widths: tuple[int, int], signed: bool) -> None:
    netlist = read_yosys_json(FIXTURES / f"{name}.json")
    assert (netlist.width_a, netlist.width_b, netlist.signed) == (*widths, signed)
    a, b = (operand_values(width, signed) for width in widths)
    np.testing.assert_array_equal(netlist.product_table(), np.multiply.outer(a, b))


def test_gates_are_kept_as_written() -> None:
    counts = read_yosys_json(FIXTURES / "yosys_gates.json").gate_counts()
    assert counts == {"AND2": 1, "HA": 1, "MUX2": 1, "NAND2": 2, "NOR2": 1, "XOR2": 1}


def design(cells: dict[str, Any], output: list[Any], **module: Any) -> str:
    """A module of 3-bit operands A (nets 2-4) and B (nets 5-7)."""
    ports = {
        "A": {"direction": "input", "bits": [2, 3, 4]},
        "B": {"direction": "input", "bits": [5, 6, 7]},
        "O": {"direction": "output", "bits": output},
    }
    return json.dumps({"modules": {"m": {"ports": ports, "cells": cells, **module}}})


def cell(kind: str, width: int, signed: int = 0, pins: str = "AB", **parameters: Any) -> dict[str, Any]:
    nets = {"A": [2, 3, 4], "B": [5, 6, 7]}
    connections = {pin: nets[pin] for pin in pins} | {"Y": list(range(100, 100 + width))}
    flags = {f"{pin}_SIGNED": signed for pin in pins}
    return {"type": kind, "parameters": flags | parameters, "connections": connections}


def as_signed(x: int) -> int:
    return x - 8 * (x > 3)


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(
    ("kind", "pins", "function"),
    [
        ("$and", "AB", lambda a, b: a & b),
        ("$or", "AB", lambda a, b: a | b),
        ("$xor", "AB", lambda a, b: a ^ b),
        ("$xnor", "AB", lambda a, b: ~(a ^ b)),
        ("$add", "AB", lambda a, b: a + b),
        ("$sub", "AB", lambda a, b: a - b),
        ("$eq", "AB", lambda a, b: int(a == b)),
        ("$ne", "AB", lambda a, b: int(a != b)),
        ("$logic_and", "AB", lambda a, b: int(bool(a and b))),
        ("$logic_or", "AB", lambda a, b: int(bool(a or b))),
        ("$not", "A", lambda a, b: ~a),
        ("$pos", "A", lambda a, b: a),
        ("$neg", "A", lambda a, b: -a),
        ("$reduce_and", "A", lambda a, b: int(a % 8 == 7)),
        ("$reduce_or", "A", lambda a, b: int(a != 0)),
        ("$reduce_bool", "A", lambda a, b: int(a != 0)),
        ("$reduce_xor", "A", lambda a, b: (a % 8).bit_count() % 2),
        ("$reduce_xnor", "A", lambda a, b: 1 - (a % 8).bit_count() % 2),
        ("$logic_not", "A", lambda a, b: int(a == 0)),
    ],
)
def test_word_cells(kind: str, pins: str, function: Any, signed: int, width: int) -> None:
    text = design({"c": cell(kind, width, signed, pins)}, list(range(100, 100 + width)))
    operands = [as_signed(x) if signed else x for x in range(8)]
    expected = [[function(a, b) % (1 << width) for b in operands] for a in operands]
    np.testing.assert_array_equal(parse_yosys_json(text).product_table(), expected)


@pytest.mark.parametrize("lut", ["00010111", "10000001", "00000000", "11111111", "01010101", 0x96])
def test_lookup_tables(lut: str | int) -> None:
    text = design({"c": cell("$lut", 1, 0, "A", LUT=lut)}, [100])
    number = lut if isinstance(lut, int) else int(lut, 2)
    np.testing.assert_array_equal(parse_yosys_json(text).product_table()[:, 3], [number >> a & 1 for a in range(8)])


def test_operands_and_top_are_chosen_by_name() -> None:
    text = design({"c": cell("$sub", 3)}, [100, 101, 102])
    table = parse_yosys_json(text).product_table()
    np.testing.assert_array_equal(parse_yosys_json(text, operands=("B", "A")).product_table(), table.T)
    data = json.loads(text)
    data["modules"]["n"] = data["modules"]["m"]
    with pytest.raises(NetlistError, match="got m, n: name it"):
        parse_yosys_json(json.dumps(data))
    assert parse_yosys_json(json.dumps(data), top="n").name == "n"


AND = {"type": "$_AND_", "connections": {"A": [2], "B": [5], "Y": [100]}}


def changed(**connections: Any) -> dict[str, Any]:
    return {"c": {"type": "$_AND_", "connections": AND["connections"] | connections}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value"),
        ("[" * 100_000, "not JSON that Yosys writes"),
        ("9" * 5_000, "not JSON that Yosys writes"),
        ("[]", "expected a JSON object for the file"),
        ('{"modules": []}', "expected a JSON object for 'modules'"),
        ('{"modules": {"m": 3}}', "expected a JSON object for module 'm'"),
        ('{"modules": {}}', "expected one module that no other one instantiates, got none"),
        ('{"modules": {"m": {"ports": {"A": {"direction": "inout", "bits": [2]}}}}}', "direction input or output"),
        ('{"modules": {"m": {"ports": {"A": {"direction": "input", "bits": []}}}}}', "port 'A' has no bits"),
        ('{"modules": {"m": {"ports": {"A": {"direction": "input", "bits": [true]}}}}}', "expected net numbers"),
        ('{"modules": {"m": {"cells": {"c": {}}}}}', "cell 'c': expected a type"),
        (design({"c": AND}, [100, "x"]), "O: unknown value 'x'"),
        (design({"c": AND}, [100, 101]), "net 'net 101' is used, but nothing drives"),
        (design({"c": AND}, [100, 101], netnames={"y": {"bits": [100, 101]}}), r"net 'y\[1\]' is used, but"),
        (design(changed(A=["x"]), [100]), "pin 'A' of cell 'c' of type '\\$_AND_': unknown value 'x'"),
        (design(changed(A=[]), [100]), "input pin 'A' of cell 'c' of type '\\$_AND_' is not connected"),
        (design(changed(A=[2, 3]), [100]), "width mismatch: pin 'A' of cell 'c' .* has 1 bits, connected to 2"),
        (design(changed(Y=["1"]), [100]), "an output drives a constant"),
        (design(changed(Q=[1]), [100]), "has no pin 'Q'; its pins are A, B, Y"),
        (design(changed(A=[100]), [100]), "combinational loop through net 100$"),
        (design(changed(Y=[2]), [2]), "net 'net 2' is an input and cannot be driven"),
        (design({"c": AND, "d": AND}, [100]), "net 'net 100' is driven twice"),
        (
            design({"c": {"type": "$_DFF_P_"}}, [2]),
            "'\\$_DFF_P_' is neither in the file nor a known combinational cell",
        ),
        (design({"c": cell("$mul", 3)}, [100]), "'\\$mul' is neither .*; synthesise it to gates first"),
        (design({"c": cell("$lut", 1, 0, "A", LUT="01x1")}, [100]), "expected a LUT of zeros and ones"),
        (design({"c": cell("$lut", 1, 0, "A", LUT="01")}, [100]), "expected a table of"),
        (design({"c": cell("$lut", 2, 0, "A", LUT="01" * 4)}, [100]), "pin 'Y' .* has 1 bits, connected to 2"),
        (design({"c": {"type": "m", "connections": {"A": [2, 3, 4], "B": [5, 6, 7]}}}, [2]), "deeper than 64"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(NetlistError) as caught:
        parse_yosys_json(text, file="m.json", top="m" if '"type": "m"' in text else None)
    assert str(caught.value).startswith("m.json:")
    assert re.search(message, caught.value.message), caught.value.message


def test_lines_of_broken_json_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"modules":\n{,}}')
    with pytest.raises(NetlistError) as caught:
        read_yosys_json(path)
    assert str(caught.value).startswith(f"{path}:2: not JSON")
