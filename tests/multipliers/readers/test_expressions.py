"""Width and sign rules of Verilog expressions: known answers, and random expressions against integer arithmetic."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipliers.readers import parse_verilog
from multipliers.simulation import unpack


def value(expression: str, a: int, b: int, width: int, *, sign: str = "") -> int:
    """What 3-bit operands give in a target of ``width`` bits."""
    text = f"module m(input {sign} [2:0] A, B, output [{width - 1}:0] O); assign O = {expression}; endmodule"
    return int(parse_verilog(text, signed=False).product_table()[a, b])


@pytest.mark.parametrize(
    ("expression", "width", "expected"),
    [  # A = 6, B = 5
        ("A + B", 4, 11),  # the carry is kept where the target is wider
        ("A + B", 3, 3),
        ("{A + B}", 4, 3),  # a part of a concatenation is not widened
        ("{1'b0, A} + B", 5, 11),
        ("A + B + 3'd7", 5, 18),
        ("A * B", 6, 30),
        ("A * B", 3, 6),
        ("{A * B}", 3, 6),
        ("A + B * 2 - 1", 5, 15),  # binds tighter than +
        ("(A + B) * B", 6, 55),  # a factor is widened before it is worked out
        ("A * B * A", 9, 180),
        ("$signed(A) * $signed(B)", 6, 6),  # -2 * -3
        ("$signed(A) * $signed(B)", 8, 6),
        ("$signed(A) * $signed({1'b0, B})", 7, 118),  # -2 * 5
        ("$signed(A) * B", 6, 30),
        ("$signed(A[2]) * $signed(B)", 6, 3),  # -1 * -3
        ("A - B - 1'b1", 3, 0),
        ("B - A", 4, 15),
        ("-A", 5, 26),
        ("~A", 5, 25),  # widened first, then inverted
        ("{~A}", 5, 1),
        ("A & ~1'b0", 3, 6),
        ("(A + B) >> 1", 3, 1),
        ("(A + B) >> 1", 4, 5),
        ("(A + B + 0) >> 1", 3, 5),  # an unsized constant is 32 bits wide
        ("A << 2", 5, 24),
        ("A << 2", 3, 0),
        ("A >> 9", 3, 0),
        ("A == B + 1'b1", 1, 1),
        ("A != 6", 2, 0),
        ("A && !B", 1, 0),
        ("A || B", 2, 1),
        ("{&A, |A, ^A, ~&A, ~|A, ~^A}", 6, 0b010101),
        ("A[1] ? B : A", 3, 5),
        ("A ~^ B", 3, 4),
        ("A ^~ B", 4, 12),
        ("A | B & 3'b001 ^ 3'o7", 3, 6),
        ("A == 3'b110 & B == 3'b101", 1, 1),
        ("{2{A[2:1], 1'b0}}", 6, 0b110110),
        ("8'b1010_0101", 8, 0xA5),
        ("12 'hA_5 & {3{4'd15}}", 12, 0xA5),
        ("'h1f", 5, 31),
        ("A[1*(3-1):2*2-3]", 2, 3),
        ("A[0+0]", 2, 0),
        ("$signed(A) + $signed(B)", 5, 27),  # -2 + -3
        ("$signed(A) + B", 4, 11),  # one unsigned operand makes the whole unsigned
        ("{$signed(A)}", 5, 6),
        ("$signed(A) == $signed({1'b1, A})", 1, 1),
        ("$signed(A) == {1'b1, A}", 1, 0),
        ("$signed(A + B)", 5, 3),  # the operand keeps a width of its own
        ("-$signed(A)", 5, 2),
        ("$signed($unsigned(B))", 4, 13),
    ],
)
def test_known_answers(expression: str, width: int, expected: int) -> None:
    assert value(expression, 6, 5, width) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [  # A = -2, B = -3, both signed: extension by the sign if, and only if, everything is signed
        ("A + B", -5),
        ("A - B", 1),
        ("-A", 2),
        ("A", -2),
        ("A + 3'b0", 6),
        ("A + 3'sb0", -2),
        ("{A}", 6),
        ("A[2:0]", 6),
        ("A + 1", -1),
        ("A[0] ? A : B", -3),
        ("A | 1'b0 ? A : 3'd0", 6),
        ("(A == B) + A", 6),
        ("A << 1", -4),
    ],
)
def test_signed_known_answers(expression: str, expected: int) -> None:
    assert value(expression, 6, 5, 6, sign="signed") == expected % 64


@dataclass(frozen=True)
class Tree:
    """An expression with what a plain reading of IEEE 1364 says about it."""

    text: str
    width: int
    signed: bool
    operator: str = ""
    parts: tuple["Tree", ...] = ()


def leaves() -> st.SearchStrategy[Tree]:
    return st.sampled_from(
        [
            Tree("A", 3, True, "A"),
            Tree("B", 3, False, "B"),
            Tree("A[2:1]", 2, False, "A[2:1]"),
            Tree("B[0]", 1, False, "B[0]"),
            Tree("4'd9", 4, False, "9"),
            Tree("3'sd5", 3, True, "5"),
            Tree("1'b1", 1, False, "1"),
            Tree("2", 32, True, "2"),
        ]
    )


def extend(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    def binary(operator: str, x: Tree, y: Tree) -> Tree:
        text = f"({x.text} {operator} {y.text})"
        return Tree(text, max(x.width, y.width), x.signed and y.signed, operator, (x, y))

    def comparison(x: Tree, y: Tree) -> Tree:
        return Tree(f"({x.text} == {y.text})", 1, False, "==", (x, y))

    def choice(c: Tree, x: Tree, y: Tree) -> Tree:
        text = f"({c.text} ? {x.text} : {y.text})"
        return Tree(text, max(x.width, y.width), x.signed and y.signed, "?", (c, x, y))

    return st.one_of(
        st.builds(binary, st.sampled_from("+-*&|^"), children, children),
        st.builds(lambda op, x: Tree(f"{op}({x.text})", x.width, x.signed, op, (x,)), st.sampled_from("~-"), children),
        st.builds(comparison, children, children),
        st.builds(choice, children, children, children),
        st.builds(
            lambda x, k: Tree(f"({x.text} >> {k})", x.width, x.signed, f">>{k}", (x,)), children, st.integers(0, 4)
        ),
        st.builds(lambda x: Tree(f"{{({x.text}) + 1'b0, B}}", x.width + 3, False, "{}", (x,)), children),
    )


def evaluate(tree: Tree, a: int, b: int, width: int, signed: bool) -> int:
    """Value of a tree in a context of ``width`` bits, as an integer of that many bits."""
    mask, operator = (1 << width) - 1, tree.operator
    parts = tree.parts
    if operator == "==":
        common, sign = max(p.width for p in parts), all(p.signed for p in parts)
        x, y = (evaluate(part, a, b, common, sign) for part in parts)
        return int(x == y)
    if operator == "{}":
        return (evaluate(parts[0], a, b, parts[0].width, False) << 3 | b) & mask
    if operator == "?":
        condition = evaluate(parts[0], a, b, parts[0].width, parts[0].signed)
        return evaluate(parts[1] if condition else parts[2], a, b, width, signed)
    if not parts:
        found = {"A": a, "B": b, "A[2:1]": a >> 1, "B[0]": b & 1}.get(operator)
        number = int(operator) if found is None else found
        if signed and number >> (tree.width - 1) & 1:
            number -= 1 << tree.width
        return number & mask
    values = [evaluate(part, a, b, width, signed) for part in parts]
    if operator.startswith(">>"):
        return values[0] >> int(operator[2:])
    if len(values) == 1:
        return (~values[0] if operator == "~" else -values[0]) & mask
    x, y = values
    return {"+": x + y, "-": x - y, "*": x * y, "&": x & y, "|": x | y, "^": x ^ y}[operator] & mask


@settings(max_examples=150)
@given(st.recursive(leaves(), extend, max_leaves=8), st.integers(0, 8))
def test_random_expressions_equal_integer_arithmetic(tree: Tree, wider: int) -> None:
    width = tree.width + wider
    ports = f"input signed [2:0] A, input [2:0] B, output [{width - 1}:0] O"
    text = f"module m({ports}); assign O = {tree.text}; endmodule"
    netlist = parse_verilog(text, signed=False)
    a, b = (grid.ravel() for grid in np.meshgrid(range(8), range(8), indexing="ij"))
    values = netlist.simulate(next(netlist.all_pairs()))
    bits = [unpack(values[netlist.rows[net]], 64) for net in netlist.outputs]
    found = [sum(int(bit[k]) << position for position, bit in enumerate(bits)) for k in range(64)]
    expected = [evaluate(tree, int(x), int(y), width, tree.signed) for x, y in zip(a, b, strict=True)]
    assert found == expected, tree.text
