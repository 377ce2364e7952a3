"""What every multiplier family provides, and what follows from it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from multipliers.arrays import Int64Array
from multipliers.builder import Net, NetlistBuilder
from multipliers.netlist import Netlist

_PARAMETER = re.compile(r"\(\?P<(?P<name>\w+)>.*?\)")


@dataclass(frozen=True)
class Family(ABC):
    """One published way to multiply, with its parameters (a frozen dataclass of integers).

    A family states the same circuit twice, independently: as gates (``build``) and as arithmetic
    (``product``). The conformance suite (``multipliers.testing``) holds the two equal. Widths are given
    when a circuit is generated, so that one family serves 8x8, 8x4, 16x16.

    Attributes:
        family: registry name, e.g. ``"truncated"``.
        pattern: regular expression of ``suffix``: plain text with one named group per parameter.
        signed: whether operands and product are two's complement.
        exact: whether every product is right; energies are relative to the cheapest such circuit.
    """

    family: ClassVar[str]
    pattern: ClassVar[str]
    signed: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def suffix(self) -> str:
        """The parameters as they appear in circuit names, e.g. ``"trunc6"``: ``pattern`` with their values put in."""
        return _PARAMETER.sub(lambda group: str(getattr(self, group["name"])), self.pattern)

    @abstractmethod
    def check(self, width_a: int, width_b: int) -> None:
        """Raise ValueError if the definition does not allow these widths."""

    def allows(self, width_a: int, width_b: int) -> bool:
        """Whether the definition allows these widths."""
        try:
            self.check(width_a, width_b)
        except ValueError:
            return False
        return True

    @abstractmethod
    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        """Emit the gates; return the product bits, least significant first, len(a) + len(b) of them."""

    @abstractmethod
    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        """The definition in integer arithmetic.

        Args:
            a: operand values (not bit patterns), int64, any shape.
            b: operand values, broadcastable to ``a``.
            width_a: bits of operand a.
            width_b: bits of operand b.
        """

    def name(self, width_a: int = 8, width_b: int | None = None) -> str:
        """Circuit name, e.g. ``mul8u_trunc6`` or ``mul8x4u_trunc3``."""
        width_b = width_a if width_b is None else width_b
        widths = f"{width_a}" if width_a == width_b else f"{width_a}x{width_b}"
        return f"mul{widths}{'s' if self.signed else 'u'}_{self.suffix}"

    def netlist(self, width_a: int = 8, width_b: int | None = None) -> Netlist:
        """Generate the circuit for operands of the given widths (square when ``width_b`` is None).

        Raises:
            ValueError: if the definition does not allow these widths.
        """
        width_b = width_a if width_b is None else width_b
        self.check(width_a, width_b)
        circuit = NetlistBuilder(self.name(width_a, width_b), width_a, width_b, signed=self.signed)
        return circuit.finish(self.build(circuit, circuit.a, circuit.b))


def require(condition: bool, what: str, expected: str, got: object) -> None:
    """Raise a uniform ValueError about a family parameter unless ``condition`` holds."""
    if not condition:
        raise ValueError(f"{what}: expected {expected}, got {got}")
