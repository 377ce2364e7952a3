"""What cannot be read is refused with file, line and reason, however large it is."""

import re
from collections.abc import Callable

import pytest

from multipliers.readers import NetlistError, parse_verilog
from multipliers.readers.limits import MAX_BYTES, MAX_DEPTH, MAX_TOKENS, MAX_WIDTH

HEAD = "module m(input [1:0] A,\n B,\n output [1:0] O);\n"
DRIVEN = "assign O = A;\n"


def refusal(text: str, **options: object) -> NetlistError:
    with pytest.raises(NetlistError) as caught:
        parse_verilog(text, file="m.v", **options)  # type: ignore[arg-type]
    error = caught.value
    assert error.file == "m.v"
    assert str(error).startswith("m.v:" if error.line is None else f"m.v:{error.line}: ")
    return error


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("assign O = A;\nNPDKGEPDKGENNAND2X1 u(.A(A[0]));", 5, "cell 'NPDKGEPDKGENNAND2X1' is neither defined"),
        ("wire x, y;\nassign x = y | A[0];\nassign y = x & B[0];\nassign O = {x, y};", 6, "loop through [xy], [xy]$"),
        ("wire x, y;\nassign x = y;\nassign y = x;\nassign O = {x, y};", 6, "loop through [xy], [xy]$"),
        ("wire x;\nassign x = x;\nassign O = {x, x};", 5, "loop through x$"),
        ("wire x;\nand (x, x, A[0]);\nassign O = A;", 5, "loop through x$"),
        ("HAX1 h(.A(A), .B(B[0]), .YS(O[0]), .YC(O[1]));", 4, "width mismatch: pin 'A' of 'HAX1' instance 'h' has 1"),
        ("HAX1 h(.A(A[0]), .B(B[0]), .YS(O));", 4, "width mismatch: pin 'YS' of 'HAX1' instance 'h' has 1 bits"),
        ("\nassign O = {A, B};", 5, "width mismatch: 4 bits are assigned to 2"),
        ("assign O = 4;", 4, "width mismatch: 3 bits are assigned to 2"),
        ("and (O, A[0], B[0]);", 4, "width mismatch: pin '1' of 'and' has 1 bits, connected to 2"),
        ("\n\nHAX1 h(.A(A[0]), .B(), .YS(O[0]), .YC(O[1]));", 6, "input pin 'B' of 'HAX1' instance 'h' is not conn"),
        ("HAX1 h(.A(A[0]), .YS(O[0]), .YC(O[1]));", 4, "input pin 'B' of 'HAX1' instance 'h' is not connected"),
        ("and (O[0], A[0], );", 4, "input pin '3' of 'and' is not connected"),
        ("HAX1 h(.A(A[0]), .B(B[0]), .Y(O[0]));", 4, "has no pin 'Y'; its pins are A, B, YS, YC"),
        ("HAX1 h(.A(A[0]), .B(B[0]), .A(O[0]));", 4, "pin 'A' is connected twice"),
        ("HAX1 h(A[0], B[0], O[0], O[1]);", 4, "does not say the order of its pins"),
        ("wire x;\nassign O = {A[0], x};", 5, "net 'O[0-9[\\]]*' is used, but nothing drives 'x'"),
        ("assign O[0] = A[0];", 1, r"nothing drives 'O\[1\]'"),
        ("wire x;\nand (O[0], A[0], x);\nassign O[1] = B[0];", 5, "nothing drives 'x'"),
        ("assign O = A;\nassign O[1] = B[0];", 5, r"net 'O\[1\]' is driven twice, first on line 4"),
        ("and (O[0], A[0], B[0]);\nor (O[0], A[1], B[1]);", 5, "is driven twice, first on line 4"),
        ("assign O = A;\nassign A[0] = B[0];", 5, r"net 'A\[0\]' is an input and cannot be driven"),
        ("assign O = A & C;", 4, "net 'C' is not declared"),
        ("assign O = A[2:1];", 4, r"'A\[2:1\]' does not lie in the declared \[1:0\]"),
        ("assign O = A[0:1];", 4, r"'A\[0:1\]' does not lie"),
        ("wire x;\nassign O = x[0];", 5, "'x' is a single bit and has no index"),
        ("assign O = A[B];", 4, "expected a constant number for an index, got 'B'"),
        ("assign O = A ** B;", 4, "expected the name of a net, a number or '\\(', got '\\*'"),
        ("assign O = A *;", 4, "expected the name of a net, a number or '\\(', got ';'"),
        ("assign O = $signed A;", 4, r"expected '\(', got 'A'"),
        ("assign O = A[1+B:0];", 4, "expected a constant number for an index, got 'B'"),
        ("assign O = A[(1:0];", 4, r"expected '\)', got ':'"),
        ("assign O = A[0-1];", 4, r"'A\[-1:-1\]' does not lie in the declared \[1:0\]"),
        ("assign O = A[3*1-1:1];", 4, r"'A\[2:1\]' does not lie in the declared"),
        ("localparam N = 1;\nlocalparam M = N,\nN = 2;", 6, "'N' is declared twice"),
        ("localparam A = 1;", 4, "'A' is declared twice"),
        ("localparam N = 1;\nwire N;", 5, "'N' is declared twice, first as a localparam"),
        ("localparam N = 2 - 3;\nassign O = A << N;", 4, "expected a localparam 'N' >= 0, got -1"),
        ("localparam N;", 4, "expected '=', got ';'"),
        ("localparam N = A;", 4, "expected a constant number for localparam 'N', got 'A'"),
        ("localparam N = 1;\nassign N = A[0];", 5, "expected a net or a concatenation of nets to drive"),
        (
            DRIVEN + "endmodule\nmodule q(input x);\nlocalparam N = 1;\nendmodule\nmodule p(input [N:0] x);",
            9,
            "expected a constant number for an index, got 'N'",
        ),
        ("assign O = {1'b0, 1'bx};", 4, "unknown value in 1'bx"),
        ("assign O = 2'hz;", 4, "unknown value in 2'hz"),
        ("assign O = 2'b12;", 4, "2'b12 is not a constant that fits its 2 bits"),
        ("assign O = 2'd4;", 4, "2'd4 is not a constant that fits"),
        ("assign O = 2'q1;", 4, "2'q1 is not a constant"),
        ("assign O = 0'b0;", 4, "expected a constant of 1..4096 bits"),
        ("assign O = {A[0], 1};", 4, "a constant in a concatenation needs a width"),
        ("assign O = A << B;", 4, "only shifts by a constant"),
        ("assign {A[0] & B[0], O} = A;", 4, "expected a net or a concatenation of nets to drive"),
        ("assign {2{O}} = A;", 4, "expected a net or a concatenation"),
        (DRIVEN + "always @(posedge A) ;", 5, "'always' is clocked or procedural"),
        (DRIVEN + "reg x;", 5, "'reg' is clocked or procedural"),
        (DRIVEN + "initial begin end", 5, "'initial' is clocked or procedural"),
        (DRIVEN + "wire [1:0] x [3:0];", 5, "'x' is an array of nets"),
        (DRIVEN + "wire A;", 5, "'A' has another range here than on line 1"),
        (DRIVEN + "wire x;\nwire x;", 6, "'x' is declared twice, first on line 5"),
        (DRIVEN + "input C;", 5, "'C' is not a port of module 'm'"),
        (DRIVEN + "parameter N = 3;", 5, "expected the name of a cell, or a statement of structural Verilog"),
        (DRIVEN + "FAX1 #(3) u(.A(A[0]));", 5, "parameters and delays of instances"),
        (DRIVEN + "FAX1 u[3:0](.A(A[0]));", 5, "expected '\\(', got '\\['"),
        (DRIVEN + '`include "cells.v"', 5, "compiler directive `include is not supported"),
        (DRIVEN + "/* never\n closed", 5, "this comment is never closed"),
        (DRIVEN + "(* never\n closed", 5, "this attribute is never closed"),
        (DRIVEN + "assign", 6, "expected the name of a net, a number or '\\('"),
        (DRIVEN + "m u(.A(A), .B(B));", 5, "hierarchy deeper than 64 at 'u.u.u."),
        (DRIVEN + "n u(.a(A));", 5, "'n' instance 'u' has no pin 'a'; its pins are x, y"),
        (DRIVEN + "n u(A[0], , , );", 5, "has 4 connections, but only 2 ports"),
        (DRIVEN + "n u(x);", 5, "input pin 'y' of 'n' instance 'u' is not connected"),
        (DRIVEN + "n u(.x(), .y(A));", 5, "width mismatch: pin 'y' of 'n' instance 'u' has 1 bits, connected to 2"),
        (DRIVEN + "not (x);", 5, "'not' takes an output and inputs"),
        (DRIVEN + "and (.Y(x), .A(A[0]));", 5, "'and' takes an output and inputs"),
    ],
)
def test_refused_with_its_line(body: str, line: int, message: str) -> None:
    error = refusal(f"{HEAD}{body}\nendmodule\nmodule n(output x, input y); assign x = y; endmodule\n", top="m")
    assert error.line == line, error
    assert re.search(message, error.message), error.message


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "expected one module that no other one instantiates, got none"),
        ("\nassign x = y;", 2, "expected 'module', got 'assign'"),
        ("module m(A, B, O);\n input A, B;\n output P; endmodule", 1, "port 'O' of module 'm' has no input or output"),
        ("module m(A, A);\n input A; endmodule", 1, "names a port twice"),
        ("module m(input A, B, inout O); endmodule", 1, "inout ports are not supported"),
        ("module m(input A, B, output reg O); endmodule", 1, "'reg' is clocked"),
        ("module m #(parameter N = 2)(input A, B, output O); endmodule", 1, "parameters are not supported"),
        (
            "module m(input A, B, output O);",
            1,
            "expected the name of a cell, or a statement .* got the end of the file",
        ),
        ("module m(input A, B, C, output O); endmodule", 1, r"with two inputs, but those of 'm' are A \(1 bit\), B"),
        ("module m(input A, B, output O, P); endmodule", 1, "with one output, but those of 'm' are O, P"),
        ("module m(input A, B); endmodule", 1, "with one output, but those of 'm' are none"),
        ("module m(output O); endmodule", 1, "has no inputs A and B; its inputs are none"),
        (
            "module m(input A, B, output O); endmodule\nmodule m(); endmodule",
            2,
            "'m' is defined twice, first on line 1",
        ),
    ],
)
def test_refused_modules(text: str, line: int | None, message: str) -> None:
    error = refusal(text)
    assert error.line == line, error
    assert re.search(message, error.message), error.message


def test_unknown_operands_are_refused() -> None:
    text = "module m(input A, B, output O); and (O, A, B); endmodule"
    for operands in (("A", "C"), ("A", "A"), ("O", "B")):
        error = refusal(text, operands=operands)
        assert "expected two inputs of module 'm' as operands" in error.message


def _nested_modules(levels: int) -> str:
    """Each module instantiates the one below twice: 2**levels instances."""
    text = "module m0(input A, B, output O); and (O, A, B); endmodule\n"
    for k in range(1, levels + 1):
        text += f"module m{k}(input A, B, output O); wire p; m{k - 1} u(A, B, p); m{k - 1} v(p, B, O); endmodule\n"
    return text


def _circuit(value: str) -> str:
    return f"module m(input [1:0] A, B, output [1:0] O); assign O = {value}; endmodule"


LARGE: dict[str, tuple[Callable[[], str], str]] = {
    "parentheses": (lambda: _circuit("(" * 100_000 + "A"), f"at most {MAX_DEPTH} levels"),
    "inversions": (lambda: _circuit("~" * 100_000 + "A"), f"at most {MAX_DEPTH} levels"),
    "choices": (lambda: _circuit("A ? B : " * 50_000 + "A"), f"at most {MAX_DEPTH} levels"),
    "mixed operators": (lambda: _circuit("A + B - " * 50_000 + "A"), f"at most {MAX_DEPTH} levels"),
    "rising precedence": (lambda: _circuit("(A|B^A&B==A<<1+(" * 5_000), f"at most {MAX_DEPTH} levels"),
    "parentheses of an index": (lambda: _circuit("A[" + "(" * 100_000), f"at most {MAX_DEPTH} levels"),
    "product of an index": (lambda: _circuit("A[" + "999999999*" * 90_000 + "1]"), "expected a constant of at most"),
    "braces": (lambda: _circuit("{" * 100_000 + "A"), f"at most {MAX_DEPTH} levels"),
    "replication": (lambda: _circuit("{4096{{4096{A}}}}"), f"beyond {MAX_WIDTH}"),
    "huge replication": (lambda: _circuit("{999999999{A}}"), f"replication count in 1..{MAX_WIDTH}"),
    "huge constant": (lambda: _circuit("999999999'b1"), f"1..{MAX_WIDTH} bits"),
    "long digits": (lambda: _circuit("9" * 100_000), "expected a constant number"),
    "long decimal": (lambda: _circuit("4000'd" + "9" * 100_000), f"1..{MAX_WIDTH} bits"),
    "long decimal that int() refuses": (lambda: _circuit("'d" + "9" * 4300), f"1..{MAX_WIDTH} bits"),
    "wide vector": (lambda: "module m(input [999999999:0] A, B, output O); endmodule", f"at most {MAX_WIDTH} bits"),
    "many wide vectors": (
        lambda: (
            _circuit("A").replace("endmodule", "wire [4095:0] " + ", ".join(f"w{k}" for k in range(999)))
            + "; endmodule"
        ),
        "beyond 1000000 nets and gates",
    ),
    "doubling hierarchy": (lambda: _nested_modules(60), "beyond 1000000 nets and gates"),
    "tokens": (lambda: _circuit("A" + " & B" * (MAX_TOKENS // 2)), f"at most {MAX_TOKENS} words"),
    "characters": (lambda: " " * (MAX_BYTES + 1), f"at most {MAX_BYTES} characters"),
    "comment starts": (lambda: "/*" * 200_000, "never closed"),
    "attribute starts": (lambda: "(* " * 200_000, "never closed"),
    "quotes in attributes": (lambda: '(* "' * 50_000, "never closed"),
}


@pytest.mark.parametrize("case", LARGE)
def test_too_large_is_refused(case: str) -> None:
    make, message = LARGE[case]
    assert message in refusal(make()).message


def test_long_flat_sums_and_deep_modules_are_fine() -> None:
    terms = " ^ ".join(["A", "B"] * 2_000 + ["A"])
    assert parse_verilog(_circuit(terms)).product_table()[1, 2] == 1
    chain = "module m0(input A, B, output O); and (O, A, B); endmodule\n"
    for k in range(1, 60):
        chain += f"module m{k}(input A, B, output O); m{k - 1} u(A, B, O); endmodule\n"
    assert parse_verilog(chain).gate_counts() == {"AND2": 1}
