"""Logic of the gate kinds a netlist may hold: the cells of EvoApproxLib and of our generators.

Functions are bitwise and work on numpy words as well as on Python integers (mask the latter: ``~`` gives
negatives).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

LogicFunction = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class GateKind:
    """One kind of gate.

    Attributes:
        name: e.g. ``"NAND2"``.
        inputs: pin names in argument order.
        outputs: pin names in result order.
        symmetric: whether the inputs may be exchanged freely.
        transistors: of the usual static CMOS cell: relative cost before a cell library is chosen.
        function: bitwise function of the inputs, returning one value per output.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    symmetric: bool
    transistors: int
    function: LogicFunction


def _majority(a: Any, b: Any, c: Any) -> Any:
    return (a & b) | (c & (a | b))


_AB, _ABC, _Y, _ADDER = ("A", "B"), ("A", "B", "C"), ("Y",), ("YS", "YC")

_KINDS = (
    GateKind("BUF", ("A",), _Y, True, 4, lambda a: (a,)),
    GateKind("INV", ("A",), _Y, True, 2, lambda a: (~a,)),
    GateKind("AND2", _AB, _Y, True, 6, lambda a, b: (a & b,)),
    GateKind("OR2", _AB, _Y, True, 6, lambda a, b: (a | b,)),
    GateKind("NAND2", _AB, _Y, True, 4, lambda a, b: (~(a & b),)),
    GateKind("NOR2", _AB, _Y, True, 4, lambda a, b: (~(a | b),)),
    GateKind("XOR2", _AB, _Y, True, 10, lambda a, b: (a ^ b,)),
    GateKind("XNOR2", _AB, _Y, True, 10, lambda a, b: (~(a ^ b),)),
    GateKind("NAND3", _ABC, _Y, True, 6, lambda a, b, c: (~(a & b & c),)),
    GateKind("NOR3", _ABC, _Y, True, 6, lambda a, b, c: (~(a | b | c),)),
    GateKind("AOI21", _ABC, _Y, False, 6, lambda a, b, c: (~((a & b) | c),)),
    GateKind("OAI21", _ABC, _Y, False, 6, lambda a, b, c: (~((a | b) & c),)),
    GateKind("MUX2", ("A", "B", "S"), _Y, False, 12, lambda a, b, s: ((a & ~s) | (b & s),)),
    GateKind("HA", _AB, _ADDER, True, 14, lambda a, b: (a ^ b, a & b)),
    GateKind("FA", _ABC, _ADDER, True, 28, lambda a, b, c: (a ^ b ^ c, _majority(a, b, c))),
)

GATE_KINDS: Mapping[str, GateKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every known kind by name. MUX2 is the non-inverting one: Y = B if S else A."""
