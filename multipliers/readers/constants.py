"""Constant expressions: bounds such as ``[2*(16-1)-1:0]`` and the values of ``localparam``.

EvoApproxLib puts its 16-bit multipliers together from 8-bit ones with them.
"""

from __future__ import annotations

from multipliers.readers.errors import NetlistError
from multipliers.readers.limits import MAX_DEPTH
from multipliers.readers.tokens import Tokens

_LARGEST = (1 << 31) - 1


class ConstantParser:
    """Takes sums and products of numbers at the position of ``tokens``.

    Attributes:
        values: the ``localparam`` of the module being read, by name.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.values: dict[str, int] = {}
        self._tokens = tokens
        self._nesting = 0

    def constant(self, what: str) -> int:
        """Take a constant expression of ``+ - *``, parentheses, numbers and names; ``what`` says what it is for."""
        tokens = self._tokens
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise NetlistError(f"expected an expression of at most {MAX_DEPTH} levels", tokens.line)
        total = self._product(what)
        while tokens.next in ("+", "-"):
            sign = 1 if tokens.take() == "+" else -1
            total = self._checked(total + sign * self._product(what))
        self._nesting -= 1
        return total

    def integer(self, what: str) -> int:
        """Take a plain number of at most 9 digits."""
        text = self._tokens.next.replace("_", "")
        if not (text.isdecimal() and len(text) <= 9):
            raise self._tokens.unexpected(f"a constant number for {what}")
        self._tokens.at += 1
        return int(text)

    def _product(self, what: str) -> int:
        product = self._factor(what)
        while self._tokens.accept("*"):
            product = self._checked(product * self._factor(what))
        return product

    def _factor(self, what: str) -> int:
        tokens = self._tokens
        if tokens.accept("("):
            inner = self.constant(what)
            tokens.expect(")")
            return inner
        if tokens.next in self.values:
            return self.values[tokens.take()]
        return self.integer(what)

    def _checked(self, value: int) -> int:
        if abs(value) > _LARGEST:
            raise NetlistError(f"expected a constant of at most {_LARGEST}, got {value}", self._tokens.line)
        return value
