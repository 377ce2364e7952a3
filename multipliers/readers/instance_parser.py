"""Parser of instances: cells, modules and gate keywords with their connections."""

from __future__ import annotations

from collections.abc import Iterator

from multipliers.readers.errors import NetlistError
from multipliers.readers.expression_parser import ExpressionParser
from multipliers.readers.syntax import Expression, Instance, Reference

PRIMITIVES = {
    "and": ("AND", False),
    "nand": ("AND", True),
    "or": ("OR", False),
    "nor": ("OR", True),
    "xor": ("XOR", False),
    "xnor": ("XOR", True),
    "buf": ("", False),
    "not": ("", True),
}
"""Gate keywords: the function over all inputs (none for the gates of one input) and whether it is inverted."""


class InstanceParser:
    """Parses the statement of instances at the position of the tokens."""

    def __init__(self, expressions: ExpressionParser) -> None:
        self._expressions = expressions

    def instances(self) -> Iterator[Instance]:
        """Take ``CELL name (...), name (...);``; the name may be missing for gate keywords."""
        tokens = self._expressions.tokens
        cell = tokens.next
        primitive = cell in PRIMITIVES
        if primitive:
            tokens.at += 1
        else:
            cell = self._expressions.identifier("a cell, or a statement of structural Verilog")
        if tokens.next == "#":
            raise NetlistError("parameters and delays of instances are not supported", tokens.line)
        while True:
            line = tokens.line
            name = "" if primitive and tokens.next == "(" else self._expressions.identifier(f"an instance of '{cell}'")
            tokens.expect("(")
            pins, arguments = self._connections()
            yield Instance(cell, name, pins, arguments, line)
            if not tokens.accept(","):
                break
        tokens.expect(";")

    def _connections(self) -> tuple[dict[str, Expression | None] | None, tuple[Expression | None, ...] | None]:
        """Take ``.A(x), .B(y))`` or ``x, y)``: connections by name or by position."""
        tokens = self._expressions.tokens
        if tokens.next != ".":
            return None, tuple(self._arguments())
        pins: dict[str, Expression | None] = {}
        while True:
            tokens.expect(".")
            line = tokens.line
            pin = self._expressions.identifier("a pin")
            if pin in pins:
                raise NetlistError(f"pin '{pin}' is connected twice", line)
            pins[pin] = Reference(pin, None, None, line)
            if tokens.accept("("):
                pins[pin] = None if tokens.next == ")" else self._expressions.expression()
                tokens.expect(")")
            if tokens.accept(")"):
                return pins, None
            tokens.expect(",")

    def _arguments(self) -> Iterator[Expression | None]:
        tokens = self._expressions.tokens
        if tokens.accept(")"):
            return
        while True:
            yield None if tokens.next in (",", ")") else self._expressions.expression()
            if tokens.accept(")"):
                return
            tokens.expect(",")
