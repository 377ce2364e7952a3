"""Syntax tree of structural Verilog: what ``parser`` makes and ``elaborate`` turns into gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(slots=True)
class Number:
    """A constant; ``width`` is None for an unsized one such as ``1``."""

    width: int | None
    value: int
    signed: bool
    depth: ClassVar[int] = 0


@dataclass(slots=True)
class Reference:
    """A net by name: whole (no bounds), one bit (equal bounds) or a part ``name[msb:lsb]``."""

    name: str
    msb: int | None
    lsb: int | None
    line: int
    depth: ClassVar[int] = 0


@dataclass(slots=True)
class Operation:
    """An operator and its operands, folded from the left.

    ``operator`` is a Verilog symbol: unary with one operand, binary with two or more, ``?`` with three.
    """

    operator: str
    operands: tuple[Expression, ...]
    depth: int


@dataclass(slots=True)
class Concatenation:
    """``{count{parts}}``, most significant part first; ``count`` is 1 without replication."""

    count: int
    parts: tuple[Expression, ...]
    depth: int


Expression: TypeAlias = Number | Reference | Operation | Concatenation


@dataclass(slots=True)
class Signal:
    """A port or wire; both bounds are None for a scalar."""

    name: str
    direction: str | None
    msb: int | None
    lsb: int | None
    signed: bool
    line: int | None

    @property
    def width(self) -> int:
        """Number of bits."""
        return 1 if self.msb is None or self.lsb is None else abs(self.msb - self.lsb) + 1

    def position(self, index: int) -> int:
        """Where the bit declared as ``index`` lies, counted from the least significant; may be out of range."""
        msb, lsb = self.msb or 0, self.lsb or 0
        return index - lsb if msb >= lsb else lsb - index

    def bit_name(self, position: int) -> str:
        """Name of a bit by its position."""
        if self.msb is None or self.lsb is None:
            return self.name
        return f"{self.name}[{self.lsb + position if self.msb >= self.lsb else self.lsb - position}]"


@dataclass(slots=True)
class Assign:
    """``assign target = value``."""

    target: Expression
    value: Expression
    line: int


@dataclass(slots=True)
class Instance:
    """A cell, module or primitive gate in use; exactly one of ``pins`` and ``arguments`` is given."""

    cell: str
    name: str
    pins: dict[str, Expression | None] | None
    arguments: tuple[Expression | None, ...] | None
    line: int


@dataclass(slots=True)
class Module:
    """One module: ports in the order of its header, all signals, and its statements."""

    name: str
    ports: tuple[str, ...]
    signals: dict[str, Signal]
    assigns: list[Assign]
    instances: list[Instance]
    line: int
