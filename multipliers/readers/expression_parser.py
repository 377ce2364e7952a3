"""Recursive-descent parser of Verilog expressions (precedence climbing)."""

from __future__ import annotations

import re

from multipliers.readers.constants import ConstantParser
from multipliers.readers.errors import NetlistError
from multipliers.readers.limits import MAX_DEPTH, MAX_WIDTH
from multipliers.readers.syntax import Concatenation, Expression, Number, Operation, Reference
from multipliers.readers.tokens import Tokens

_PRECEDENCE = {
    "||": 1,
    "&&": 2,
    "|": 3,
    "^": 4,
    "~^": 4,
    "^~": 4,
    "&": 5,
    "==": 6,
    "!=": 6,
    "<<": 7,
    ">>": 7,
    "+": 8,
    "-": 8,
    "*": 9,
}
_UNARY = frozenset({"~", "!", "&", "|", "^", "~&", "~|", "~^", "^~", "+", "-"})
_FOLDABLE = frozenset({"|", "^", "&", "+", "||", "&&"})
"""Associative operators: a long sum becomes one wide node, not a deep tree."""

SIGN_CASTS = frozenset({"$signed", "$unsigned"})
"""System functions that only say whether their operand is signed."""

_SIZED = re.compile(r"([0-9_]*)\s*'\s*([sS]?)([A-Za-z])\s*([\w?]+)", re.ASCII)
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}
_NAME = re.compile(r"[A-Za-z_][\w$]*|\\\S+", re.ASCII)
_WORDS = """
module endmodule input output inout wire logic reg tri signed assign always always_comb always_ff always_latch initial
parameter localparam defparam generate genvar function task primitive specify endspecify supply0 supply1 begin end if
else case integer real and nand or nor xor xnor not buf
"""
KEYWORDS = frozenset(_WORDS.split())
"""Words that are no names unless escaped."""


class ExpressionParser:
    """Parses expressions, names and constants at the position of ``tokens``."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.constants = ConstantParser(tokens)
        self._nesting = 0

    def identifier(self, what: str) -> str:
        """Take a name, escaped or not; ``what`` says what it should be the name of."""
        text = self.tokens.next
        if text in KEYWORDS or not _NAME.fullmatch(text):
            raise self.tokens.unexpected(f"the name of {what}")
        self.tokens.at += 1
        return text[1:] if text[0] == "\\" else text

    def bounds(self) -> tuple[int, int]:
        """Take ``msb:lsb]`` or ``index]`` (the opening bracket is already taken)."""
        msb = lsb = self.constants.constant("an index")
        if self.tokens.accept(":"):
            lsb = self.constants.constant("an index")
        self.tokens.expect("]")
        return msb, lsb

    def expression(self) -> Expression:
        """Take an expression, ``?:`` included."""
        self._enter()
        result = self._binary(1)
        if self.tokens.accept("?"):
            chosen = self.expression()
            self.tokens.expect(":")
            result = self._operation("?", (result, chosen, self.expression()))
        self._nesting -= 1
        return result

    def _enter(self) -> None:
        """Count one more level of recursion; a level of parentheses takes two."""
        self._nesting += 1
        if self._nesting > 2 * MAX_DEPTH:
            raise self._too_deep()

    def _binary(self, level: int) -> Expression:
        tokens = self.tokens
        self._enter()
        left = self._unary()
        while (precedence := _PRECEDENCE.get(tokens.next, 0)) >= level:
            operator = tokens.take()
            operands = [left, self._binary(precedence + 1)]
            while operator in _FOLDABLE and tokens.accept(operator):
                operands.append(self._binary(precedence + 1))
            left = self._operation("~^" if operator == "^~" else operator, tuple(operands))
        self._nesting -= 1
        return left

    def _unary(self) -> Expression:
        if self.tokens.next not in _UNARY:
            return self._primary()
        operators = []
        while self.tokens.next in _UNARY:
            operators.append(self.tokens.take())
        operand = self._primary()
        for operator in reversed(operators):
            operand = self._operation("~^" if operator == "^~" else operator, (operand,))
        return operand

    def _primary(self) -> Expression:
        tokens = self.tokens
        text = tokens.next
        if text == "(":
            tokens.at += 1
            inner = self.expression()
            tokens.expect(")")
            return inner
        if text == "{":
            tokens.at += 1
            return self._concatenation()
        if text[:1].isdigit() or text[:1] == "'":
            return self._number()
        if text in SIGN_CASTS:
            tokens.at += 1
            tokens.expect("(")
            operand = self.expression()
            tokens.expect(")")
            return self._operation(text, (operand,))
        if text in self.constants.values:
            return Number(None, self.constants.values[tokens.take()], True)
        line = tokens.line
        name = self.identifier("a net, a number or '('")
        if tokens.accept("["):
            msb, lsb = self.bounds()
            return Reference(name, msb, lsb, line)
        return Reference(name, None, None, line)

    def _concatenation(self) -> Expression:
        tokens, count = self.tokens, 1
        parts = [self.expression()]
        replicated = isinstance(parts[0], Number) and tokens.accept("{")
        if replicated and isinstance(parts[0], Number):
            count = parts[0].value
            if not 1 <= count <= MAX_WIDTH:
                raise NetlistError(f"expected a replication count in 1..{MAX_WIDTH}, got {count}", tokens.line)
            parts = [self.expression()]
        while tokens.accept(","):
            parts.append(self.expression())
        tokens.expect("}")
        if replicated:
            tokens.expect("}")
        depth = 1 + max(part.depth for part in parts)
        if depth > MAX_DEPTH:
            raise self._too_deep()
        return Concatenation(count, tuple(parts), depth)

    def _number(self) -> Number:
        line, text = self.tokens.line, self.tokens.take()
        match = _SIZED.fullmatch(text)
        if match is None:
            self.tokens.at -= 1
            return Number(None, self.constants.integer("a value"), True)
        size, sign, letter, digits = match.groups()
        digits, base = digits.replace("_", "").lower(), _BASES.get(letter.lower(), 0)
        if set(digits) & set("xz?"):
            raise NetlistError(f"unknown value in {text[:40]}: a circuit needs 0 or 1 there", line)
        width = int(size.replace("_", "")) if 0 < len(size) <= 9 else None if not size else MAX_WIDTH + 1
        if (width is not None and not 1 <= width <= MAX_WIDTH) or len(digits) > MAX_WIDTH:
            raise NetlistError(f"expected a constant of 1..{MAX_WIDTH} bits, got {text[:40]}", line)
        try:
            value = int(digits, base) if base else -1
        except ValueError:
            value = -1
        if value < 0 or value.bit_length() > (width or 32):
            raise NetlistError(f"{text[:40]} is not a constant that fits its {width or 32} bits", line)
        return Number(width, value, bool(sign))

    def _operation(self, operator: str, operands: tuple[Expression, ...]) -> Operation:
        depth = 1 + max(operand.depth for operand in operands)
        if depth > MAX_DEPTH:
            raise self._too_deep()
        return Operation(operator, operands, depth)

    def _too_deep(self) -> NetlistError:
        return NetlistError(f"expected an expression of at most {MAX_DEPTH} levels", self.tokens.line)
