"""Parser of structural Verilog: the text of a file becomes ``syntax.Module`` objects."""

from __future__ import annotations

from collections.abc import Iterator

from multipliers.readers.errors import NetlistError
from multipliers.readers.expression_parser import ExpressionParser
from multipliers.readers.instance_parser import InstanceParser
from multipliers.readers.limits import MAX_WIDTH
from multipliers.readers.syntax import Assign, Module, Reference, Signal
from multipliers.readers.tokens import Tokens

_DIRECTIONS = frozenset({"input", "output", "inout"})
_NET_TYPES = frozenset({"wire", "logic"})
_PROCEDURAL = frozenset({"always", "always_ff", "always_comb", "always_latch", "initial", "reg"})


def parse_modules(text: str) -> dict[str, Module]:
    """All modules of a file by name, in the order of the file.

    Raises:
        NetlistError: on anything that is not structural Verilog, with its line.
    """
    parser = _ModuleParser(Tokens(text))
    modules: dict[str, Module] = {}
    while parser.tokens.next:
        module = parser.module()
        if module.name in modules:
            first = modules[module.name].line
            raise NetlistError(f"module '{module.name}' is defined twice, first on line {first}", module.line)
        modules[module.name] = module
    return modules


class _ModuleParser:
    """Parses one module after the other; ``_module`` is the one being filled."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._expressions = ExpressionParser(tokens)
        self._constants = self._expressions.constants.values
        self._instances = InstanceParser(self._expressions)
        self._module = Module("", (), {}, [], [], 0)

    def module(self) -> Module:
        tokens = self.tokens
        line = tokens.line
        tokens.expect("module")
        name = self._expressions.identifier("a module")
        self._module = Module(name, (), {}, [], [], line)
        self._constants.clear()
        if tokens.next == "#":
            raise NetlistError("parameters are not supported; flatten or synthesise the file first", tokens.line)
        if tokens.accept("("):
            self._module.ports = tuple(self._header())
        tokens.expect(";")
        while not tokens.accept("endmodule"):
            self._statement()
        if tokens.accept(":"):
            self._expressions.identifier("the module again")
        self._check_ports()
        return self._module

    def _header(self) -> Iterator[str]:
        """Names of the ports; declares them too where the header is of the ANSI style."""
        tokens = self.tokens
        ansi = tokens.next in _DIRECTIONS
        direction, signed, bounds = "", False, None
        while not tokens.accept(")"):
            if tokens.next in _DIRECTIONS:
                direction, signed, bounds = self._type()
            line = tokens.line
            name = self._expressions.identifier("a port")
            if ansi:
                self._declare(name, direction, signed, bounds, line)
            yield name
            if tokens.next != ")":
                tokens.expect(",")

    def _check_ports(self) -> None:
        module = self._module
        for name in module.ports:
            if name not in module.signals or module.signals[name].direction is None:
                raise NetlistError(f"port '{name}' of module '{module.name}' has no input or output", module.line)
        if len(set(module.ports)) < len(module.ports):
            raise NetlistError(f"module '{module.name}' names a port twice", module.line)
        for signal in module.signals.values():
            if signal.direction is not None and signal.name not in module.ports:
                raise NetlistError(f"'{signal.name}' is not a port of module '{module.name}'", signal.line)

    def _statement(self) -> None:
        tokens = self.tokens
        text = tokens.next
        if text == "assign":
            tokens.at += 1
            self._assignments()
        elif text in _DIRECTIONS or text in _NET_TYPES:
            self._declaration()
        elif text == "localparam":
            tokens.at += 1
            self._localparams()
        elif text in _PROCEDURAL:
            raise NetlistError(
                f"'{text}' is clocked or procedural logic; only gates, instances and assign are read", tokens.line
            )
        elif text == "specify":  # timing says nothing about the function
            while tokens.take() != "endspecify":
                pass
        elif not tokens.accept(";"):
            self._module.instances += self._instances.instances()

    def _assignments(self) -> None:
        tokens = self.tokens
        while True:
            line = tokens.line
            target = self._expressions.expression()
            tokens.expect("=")
            self._module.assigns.append(Assign(target, self._expressions.expression(), line))
            if not tokens.accept(","):
                break
        tokens.expect(";")

    def _localparams(self) -> None:
        """Take ``NAME = constant, ...;``."""
        tokens = self.tokens
        while True:
            line = tokens.line
            name = self._expressions.identifier("a constant")
            if name in self._module.signals or name in self._constants:
                raise NetlistError(f"'{name}' is declared twice", line)
            tokens.expect("=")
            value = self._expressions.constants.constant(f"localparam '{name}'")
            if value < 0:
                raise NetlistError(f"expected a localparam '{name}' >= 0, got {value}", line)
            self._constants[name] = value
            if not tokens.accept(","):
                break
        tokens.expect(";")

    def _type(self) -> tuple[str, bool, tuple[int, int] | None]:
        """Take ``input wire signed [7:0]``: direction or net type, sign and bounds."""
        tokens = self.tokens
        line, kind = tokens.line, tokens.take()
        if kind == "inout":
            raise NetlistError("inout ports are not supported; a multiplier has inputs and outputs", line)
        if tokens.next in _NET_TYPES:
            tokens.at += 1
        if tokens.next == "reg":
            raise NetlistError("'reg' is clocked or procedural logic; only wires are read", line)
        signed = tokens.accept("signed")
        bounds = self._expressions.bounds() if tokens.accept("[") else None
        if bounds is not None and abs(bounds[0] - bounds[1]) >= MAX_WIDTH:
            raise NetlistError(f"expected a vector of at most {MAX_WIDTH} bits, got [{bounds[0]}:{bounds[1]}]", line)
        return kind, signed, bounds

    def _declaration(self) -> None:
        tokens = self.tokens
        kind, signed, bounds = self._type()
        while True:
            line = tokens.line
            name = self._expressions.identifier("a net")
            self._declare(name, kind if kind in _DIRECTIONS else None, signed, bounds, line)
            if tokens.next == "[":
                raise NetlistError(f"'{name}' is an array of nets, which is not supported", line)
            if tokens.accept("="):
                self._module.assigns.append(
                    Assign(Reference(name, None, None, line), self._expressions.expression(), line)
                )
            if not tokens.accept(","):
                break
        tokens.expect(";")

    def _declare(
        self, name: str, direction: str | None, signed: bool, bounds: tuple[int, int] | None, line: int
    ) -> None:
        """Add a signal, or complete one that was declared as a port or as a wire before."""
        msb, lsb = bounds or (None, None)
        if name in self._constants:
            raise NetlistError(f"'{name}' is declared twice, first as a localparam", line)
        known = self._module.signals.get(name)
        if known is None:
            self._module.signals[name] = Signal(name, direction, msb, lsb, signed, line)
            return
        if (known.direction is None) == (direction is None):
            raise NetlistError(f"'{name}' is declared twice, first on line {known.line}", line)
        if (known.msb, known.lsb) != (msb, lsb):
            raise NetlistError(f"'{name}' has another range here than on line {known.line}", line)
        known.direction = known.direction or direction
        known.signed = known.signed or signed
