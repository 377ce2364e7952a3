"""Turns expressions into nets by the width and sign rules of Verilog (IEEE 1364-2005, section 5.4).

Operands of ``* + - & | ^ ~ ?:`` are first widened to the widest operand or target (so ``{c, s} = a + b`` keeps the
carry), sign-extended only if all of them are signed; parts of concatenations, conditions, reductions and operands
of comparisons keep a width of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from multipliers.netlist import ZERO
from multipliers.readers.errors import NetlistError
from multipliers.readers.expression_parser import SIGN_CASTS
from multipliers.readers.limits import MAX_WIDTH
from multipliers.readers.logic import Logic, resized
from multipliers.readers.syntax import Concatenation, Expression, Module, Number, Operation, Reference

UNSIZED_WIDTH = 32
_REDUCTIONS = {"&": "AND", "|": "OR", "^": "XOR", "~&": "AND", "~|": "OR", "~^": "XOR", "!": "OR"}
_BITWISE = {"&": "AND", "|": "OR", "^": "XOR", "~^": "XOR"}
_ONE_BIT = frozenset({"==", "!=", "&&", "||"})
_SHIFTS = frozenset({"<<", ">>"})


class Expressions:
    """Expressions of one module: widths are worked out once, nets anew in every instance of it."""

    def __init__(self, module: Module, logic: Logic) -> None:
        self._module = module
        self._logic = logic
        self._shapes: dict[int, tuple[int, bool, int]] = {}

    def width(self, expression: Expression) -> int:
        """Bits of an expression on its own."""
        return self._shape(expression)[0]

    def needed(self, expression: Expression) -> int:
        """The same, but counting an unsized constant only as wide as its value."""
        return self._shape(expression)[2]

    def evaluate(self, expression: Expression, width: int, nets: Mapping[str, list[int]]) -> list[int]:
        """Nets of an expression assigned to ``width`` bits, least significant first."""
        own, signed, _ = self._shape(expression)
        return self._bits(expression, width, max(own, width), signed, nets)

    def alone(self, expression: Expression, nets: Mapping[str, list[int]]) -> list[int]:
        """Nets of an expression at its own width."""
        return self.evaluate(expression, self.width(expression), nets)

    def target(self, expression: Expression, nets: Mapping[str, list[int]]) -> list[int]:
        """Nets that an assignment or an output pin drives: names, selections and concatenations of them."""
        if isinstance(expression, Reference):
            return self.select(expression, nets)
        if isinstance(expression, Concatenation) and expression.count == 1:
            return [net for part in reversed(expression.parts) for net in self.target(part, nets)]
        raise NetlistError("expected a net or a concatenation of nets to drive", self._logic.graph.line)

    def select(self, reference: Reference, nets: Mapping[str, list[int]]) -> list[int]:
        """Nets of a name, a bit of it or a part of it."""
        signal = self._module.signals.get(reference.name)
        if signal is None:
            raise NetlistError(f"net '{reference.name}' is not declared", reference.line)
        if reference.msb is None or reference.lsb is None:
            return nets[reference.name]
        if signal.msb is None:
            raise NetlistError(f"'{reference.name}' is a single bit and has no index", reference.line)
        high, low = signal.position(reference.msb), signal.position(reference.lsb)
        if not 0 <= low <= high < signal.width:
            raise NetlistError(
                f"'{reference.name}[{reference.msb}:{reference.lsb}]' does not lie in the declared "
                f"[{signal.msb}:{signal.lsb}]",
                reference.line,
            )
        return nets[reference.name][low : high + 1]

    def _shape(self, expression: Expression) -> tuple[int, bool, int]:
        """(width, signed, needed width) of an expression on its own."""
        if isinstance(expression, Number):
            width = expression.width or UNSIZED_WIDTH
            return width, expression.signed, expression.width or max(1, expression.value.bit_length())
        if isinstance(expression, Reference):
            signal = self._module.signals.get(expression.name)
            if signal is None:
                raise NetlistError(f"net '{expression.name}' is not declared", expression.line)
            if expression.msb is None or expression.lsb is None:
                return signal.width, signal.signed, signal.width
            width = abs(expression.msb - expression.lsb) + 1
            return width, False, width
        known = self._shapes.get(id(expression))
        if known is None:
            known = self._shapes[id(expression)] = self._combined_shape(expression)
            if known[0] > MAX_WIDTH:
                raise NetlistError(f"an expression of {known[0]} bits is beyond {MAX_WIDTH}", self._logic.graph.line)
        return known

    def _combined_shape(self, expression: Operation | Concatenation) -> tuple[int, bool, int]:
        if isinstance(expression, Concatenation):
            for part in expression.parts:
                if isinstance(part, Number) and part.width is None:
                    raise NetlistError("a constant in a concatenation needs a width", self._logic.graph.line)
            width = expression.count * sum([self.width(part) for part in expression.parts])
            return width, False, width
        operator, operands = expression.operator, expression.operands
        shapes = [self._shape(operand) for operand in operands]
        if operator in _ONE_BIT or (len(operands) == 1 and operator in _REDUCTIONS):
            return 1, False, 1
        if operator in SIGN_CASTS:
            return shapes[0][0], operator == "$signed", shapes[0][2]
        if operator in _SHIFTS:
            return shapes[0]
        if operator == "?":
            shapes = shapes[1:]
        width, needed = max([shape[0] for shape in shapes]), max([shape[2] for shape in shapes])
        return width, all([shape[1] for shape in shapes]), needed

    def _bits(
        self, expression: Expression, count: int, context: int, signed: bool, nets: Mapping[str, list[int]]
    ) -> list[int]:
        """The low ``count`` bits of an expression that is evaluated at ``context`` bits."""
        self._logic.graph.spend(count)
        if isinstance(expression, Operation):
            return self._operation(expression, count, context, signed, nets)
        if isinstance(expression, Number):
            bits = [expression.value >> k & 1 for k in range(expression.width or UNSIZED_WIDTH)]
        elif isinstance(expression, Reference):
            bits = self.select(expression, nets)
        else:
            bits = [net for part in reversed(expression.parts) for net in self.alone(part, nets)] * expression.count
        return resized(bits, count, signed)

    def _operation(
        self, expression: Operation, count: int, context: int, signed: bool, nets: Mapping[str, list[int]]
    ) -> list[int]:
        operator, operands, logic = expression.operator, expression.operands, self._logic
        if self._is_one_bit(expression):
            return resized([self._condition(expression, nets)], count, False)
        if operator in SIGN_CASTS:
            return resized(self.alone(operands[0], nets), count, signed)
        if operator in _SHIFTS:
            return self._shift(expression, count, context, signed, nets)
        if operator == "?":
            select = logic.all("OR", self.alone(operands[0], nets))
            chosen, other = (self._bits(x, count, context, signed, nets) for x in operands[1:])
            return [logic.mux(zero, one, select) for zero, one in zip(other, chosen, strict=True)]
        if operator == "*":
            x, y = (self._factor(operand, context, signed, nets) for operand in operands)
            return logic.multiply(x, y, count, signed=signed)
        words = [self._bits(operand, count, context, signed, nets) for operand in operands]
        if len(words) == 1:
            if operator == "~":
                return [logic.inv(bit) for bit in words[0]]
            return words[0] if operator == "+" else logic.subtract([ZERO] * count, words[0])
        total = words[0]
        for word in words[1:]:
            total = self._combined(operator, total, word)
        return total

    def _combined(self, operator: str, x: list[int], y: list[int]) -> list[int]:
        """Two words of equal width by a bitwise operator, ``+`` or ``-``."""
        logic = self._logic
        if operator in _BITWISE:
            bits = [logic.two(_BITWISE[operator], *pair) for pair in zip(x, y, strict=True)]
            return [logic.inv(bit) for bit in bits] if operator == "~^" else bits
        return logic.add(x, y) if operator == "+" else logic.subtract(x, y)

    def _factor(self, expression: Expression, context: int, signed: bool, nets: Mapping[str, list[int]]) -> list[int]:
        """A factor before it is extended to the context, where extending says nothing new: partial products are few."""
        if isinstance(expression, Operation) and expression.operator not in SIGN_CASTS:
            return self._bits(expression, context, context, signed, nets)
        return self.alone(expression, nets)

    def _is_one_bit(self, expression: Operation) -> bool:
        reduction = len(expression.operands) == 1 and expression.operator in _REDUCTIONS
        return reduction or expression.operator in _ONE_BIT

    def _condition(self, expression: Operation, nets: Mapping[str, list[int]]) -> int:
        """Reductions, comparisons and logical operators: operands at a width of their own."""
        operator, operands, logic = expression.operator, expression.operands, self._logic
        if operator in ("&&", "||"):
            bits = [logic.all("OR", self.alone(operand, nets)) for operand in operands]
            return logic.all("AND" if operator == "&&" else "OR", bits)
        if operator in ("==", "!="):
            shapes = [self._shape(operand) for operand in operands]
            width, signed = max(shape[0] for shape in shapes), all(shape[1] for shape in shapes)
            equal = logic.equal(*(self._bits(operand, width, width, signed, nets) for operand in operands))
            return equal if operator == "==" else logic.inv(equal)
        bits, function = self.alone(operands[0], nets), _REDUCTIONS[operator]
        return logic.inverted(function, bits) if operator[0] in "~!" else logic.all(function, bits)

    def _shift(
        self, expression: Operation, count: int, context: int, signed: bool, nets: Mapping[str, list[int]]
    ) -> list[int]:
        value, amount = expression.operands
        if not isinstance(amount, Number):
            raise NetlistError("only shifts by a constant are supported", self._logic.graph.line)
        step = min(amount.value, context)
        if expression.operator == "<<":
            return ([ZERO] * step + self._bits(value, count, context, signed, nets))[:count]
        return resized(self._bits(value, context, context, signed, nets)[step:], count, False)
