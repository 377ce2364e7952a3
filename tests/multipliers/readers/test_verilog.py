"""Each dialect of Verilog that multipliers are published in, from a fixture written by hand, and operands by name."""

from pathlib import Path

import numpy as np
import pytest

from multipliers import operand_values
from multipliers.readers import NetlistError, parse_verilog, read_verilog

FIXTURES = Path(__file__).parent / "fixtures"

DIALECTS = [
    ("cells", (2, 2), False),
    ("defined_cells", (2, 2), False),
    ("expression_pins", (2, 2), True),
    ("assigns", (2, 2), False),
    ("row_adder", (3, 2), False),
    ("ansi", (3, 3), False),
    ("primitives", (2, 2), False),
    ("hierarchy", (2, 2), False),
    ("reversed_range", (2, 2), False),
    ("escaped", (2, 2), False),
    ("localparam", (4, 2), False),
    ("signed_keyword", (2, 2), True),
    ("sign_casts", (2, 2), True),
    ("sky130", (2, 2), False),
    ("sg13g2", (2, 2), False),
    ("yosys_cells", (2, 2), False),
]


@pytest.mark.parametrize(("name", "widths", "signed"), DIALECTS)
def test_every_dialect_gives_the_exact_product(name: str, widths: tuple[int, int], signed: bool) -> None:
    undeclared = name in ("expression_pins", "sign_casts")  # most of EvoApproxLib does not declare its operands signed
    explicit = signed if undeclared else None
    netlist = read_verilog(FIXTURES / f"{name}.v", signed=explicit)
    assert (netlist.width_a, netlist.width_b, netlist.signed) == (*widths, signed)
    a, b = (operand_values(width, signed) for width in widths)
    np.testing.assert_array_equal(netlist.product_table(), np.multiply.outer(a, b))


def test_no_fixture_is_forgotten() -> None:
    assert {path.stem for path in FIXTURES.glob("*.v")} == {name for name, _, _ in DIALECTS}


def test_gates_are_kept_as_written() -> None:
    assert read_verilog(FIXTURES / "cells.v").gate_counts() == {
        "AND2": 3, "BUF": 1, "FA": 1, "HA": 1, "INV": 1, "NAND2": 1,
    }  # fmt: skip


def test_definitions_of_known_cells_stay_one_gate_even_under_damaged_names() -> None:
    assert read_verilog(FIXTURES / "defined_cells.v").gate_counts() == {"AND2": 3, "FA": 1, "HA": 1, "MUX2": 1}


def test_a_definition_in_the_file_wins_over_the_library() -> None:
    """MUX2X1 of gscl45nm inverts, that of EvoApproxLib does not."""
    circuit = "module m(input [1:0] A, B, output O); MUX2X1 u(.A(A[0]), .B(A[1]), .S(B[0]), .Y(O)); endmodule"
    inverting = "module MUX2X1(input A, B, S, output Y); assign Y = ~(S ? A : B); endmodule"
    plain, defined = parse_verilog(circuit), parse_verilog(circuit + "\n" + inverting)
    assert plain.gate_counts() == {"MUX2": 1} and defined.gate_counts() == {"INV": 1, "MUX2": 1}
    np.testing.assert_array_equal(plain.product_table()[:, 0], [0, 1, 0, 1])
    np.testing.assert_array_equal(defined.product_table()[:, 0], [1, 1, 0, 0])


@pytest.mark.parametrize("header", ["A, B, O", "B, A, O", "O, B, A"])
@pytest.mark.parametrize("ansi", [False, True])
def test_operands_are_bound_by_name_whatever_the_order_of_the_ports(header: str, ansi: bool) -> None:
    kinds = {"A": "input [2:0] A", "B": "input [1:0] B", "O": "output [2:0] O"}
    names = header.split(", ")
    if ansi:
        text = f"module m({', '.join(kinds[n] for n in names)});"
    else:
        text = f"module m({header}); {' '.join(kinds[n] + ';' for n in names)}"
    netlist = parse_verilog(f"{text} assign O = A & ~{{1'b0, B}}; endmodule")
    expected = np.arange(8)[:, None] & ~np.arange(4)[None, :]
    np.testing.assert_array_equal(netlist.product_table(), expected)


def test_operands_of_other_names_are_given_by_the_caller() -> None:
    text = "module m(input [1:0] x, input [1:0] y, output [1:0] z); assign z = x & ~y; endmodule"
    table = parse_verilog(text, operands=("x", "y")).product_table()
    np.testing.assert_array_equal(parse_verilog(text, operands=("y", "x")).product_table(), table.T)
    with pytest.raises(NetlistError, match=r"inputs are x \(2 bit\), y \(2 bit\): say which are operand a and b"):
        parse_verilog(text)


def test_the_caller_decides_the_sign_where_the_ports_do_not_say_it() -> None:
    text = "module m(input [1:0] A, B, output [3:0] O); assign O = {2'b11, A}; endmodule"
    assert not parse_verilog(text).signed
    assert parse_verilog(text, signed=True).product_table()[1, 0] == 0b1101 - 16
    mixed = "module m(input signed [1:0] A, input [1:0] B, output [1:0] O); assign O = A; endmodule"
    with pytest.raises(NetlistError, match="only one operand of 'm' is declared signed"):
        parse_verilog(mixed)
    assert parse_verilog(mixed, signed=True).signed


def test_the_top_module_is_the_one_nothing_instantiates() -> None:
    two = "module p(input [1:0] A, B, output O); assign O = A[0]; endmodule\n" + (
        "module q(input [1:0] A, B, output O); assign O = B[1]; endmodule"
    )
    with pytest.raises(NetlistError, match="got p, q: name it"):
        parse_verilog(two)
    assert parse_verilog(two, top="q").name == "q"
    with pytest.raises(NetlistError, match="no module 'r'; the file has p, q"):
        parse_verilog(two, top="r")


def test_specify_blocks_and_null_statements_are_skipped() -> None:
    text = "module m(input A, B, output O); ; buf (O, A); specify (A => O) = 0; endspecify endmodule"
    assert parse_verilog(text).gate_counts() == {"BUF": 1}


def test_files_with_other_line_ends_and_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.v"
    path.write_bytes(b"// \xb5W\r\nmodule m(input A, B,\r\n output O);\r\n and(O, A, B); endmodule\r\n")
    assert read_verilog(path).gate_counts() == {"AND2": 1}
    path.write_bytes(b"// \xb5W\r\nmodule m(input A, B,\r\n output O);\r\n and(O, A, C); endmodule\r\n")
    with pytest.raises(NetlistError) as caught:
        read_verilog(path)
    assert str(caught.value).startswith(f"{path}:4: net 'C' is used")
