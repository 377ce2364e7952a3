"""Library cells by name: EvoApproxLib, SkyWater SKY130 hd, IHP SG13G2 and the simple cells of Yosys.

Functions and pin names are those documented by the libraries; drive strengths (``_1``, ``X2``) do not matter here.

- EvoApproxLib: kinds of ``multipliers.gates`` with an optional prefix ``PDKGEN`` and drive strength, e.g. ``FAX1``.
  ``MUX2X1`` is B where S is 1, as EvoApproxLib has it; the cell of that name in OSU's gscl45nm inverts, so append
  a module ``MUX2X1`` to netlists mapped on gscl45nm: a definition in the file always wins.
- SKY130 and SG13G2: simple gates, and the AND-OR and OR-AND cells by the rule behind their names: ``a211oi`` is
  NOT(A1 A2 + B1 + C1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from multipliers.gates import GATE_KINDS
from multipliers.netlist import ONE, ZERO
from multipliers.readers.logic import Logic

Emit = Callable[[Logic, list[int]], tuple[int, ...]]


@dataclass(frozen=True)
class LibraryCell:
    """Pins of a cell, and ``emit``, which adds its gates: nets of ``inputs`` to nets of ``outputs``."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    emit: Emit


_STRENGTH = re.compile(r"X[0-9]+$")
_FOUNDRY = re.compile(r"(?:sky130_fd_sc_hd__|sg13g2_)([a-z0-9]+?)(?:_[0-9]+)?")
_GATE = re.compile(r"(and|nand|or|nor)([2-4])(b{0,2})")
_AND_OR = re.compile(r"([ao])([1-4]{2,4})(oi?|ai?)")
_GROUPS = "ABCD"

_FOUNDRY_KINDS = {
    "inv": ("INV", "A", "Y"),
    "clkinv": ("INV", "A", "Y"),
    "buf": ("BUF", "A", "X"),
    "clkbuf": ("BUF", "A", "X"),
    "and2": ("AND2", "A B", "X"),
    "or2": ("OR2", "A B", "X"),
    "xor2": ("XOR2", "A B", "X"),
    "xnor2": ("XNOR2", "A B", "Y"),
    "a21oi": ("AOI21", "A1 A2 B1", "Y"),
    "o21ai": ("OAI21", "A1 A2 B1", "Y"),
    "mux2": ("MUX2", "A0 A1 S", "X"),
    "ha": ("HA", "A B", "SUM COUT"),
    "fa": ("FA", "A B CIN", "SUM COUT"),
}
_YOSYS_KINDS = {
    "$_BUF_": ("BUF", "A", "Y"),
    "$_NOT_": ("INV", "A", "Y"),
    "$_AND_": ("AND2", "A B", "Y"),
    "$_NAND_": ("NAND2", "A B", "Y"),
    "$_OR_": ("OR2", "A B", "Y"),
    "$_NOR_": ("NOR2", "A B", "Y"),
    "$_XOR_": ("XOR2", "A B", "Y"),
    "$_XNOR_": ("XNOR2", "A B", "Y"),
    "$_MUX_": ("MUX2", "A B S", "Y"),
    "$_AOI3_": ("AOI21", "A B C", "Y"),
    "$_OAI3_": ("OAI21", "A B C", "Y"),
}
_COMPOUND = {
    "$_ANDNOT_": LibraryCell(("A", "B"), ("Y",), lambda g, p: (g.two("AND", p[0], g.inv(p[1])),)),
    "$_ORNOT_": LibraryCell(("A", "B"), ("Y",), lambda g, p: (g.two("OR", p[0], g.inv(p[1])),)),
    "$_NMUX_": LibraryCell(("A", "B", "S"), ("Y",), lambda g, p: (g.inv(g.mux(*p)),)),
    "mux2i": LibraryCell(("A0", "A1", "S"), ("Y",), lambda g, p: (g.inv(g.mux(*p)),)),
    "maj3": LibraryCell(("A", "B", "C"), ("X",), lambda g, p: (g.graph.gate("FA", *p)[1],)),
    "conb": LibraryCell((), ("HI", "LO"), lambda g, p: (ONE, ZERO)),
    "tiehi": LibraryCell((), ("L_HI",), lambda g, p: (ONE,)),
    "tielo": LibraryCell((), ("L_LO",), lambda g, p: (ZERO,)),
}


@lru_cache(maxsize=1024)
def library_cell(name: str) -> LibraryCell | None:
    """The cell of that name in any of the libraries, None if there is none."""
    if name in _YOSYS_KINDS:
        return _renamed(*_YOSYS_KINDS[name])
    if name in ("$_AOI4_", "$_OAI4_"):
        return _and_or(name[2] == "A", (("A", "B"), ("C", "D")), inverting=True)
    if name.startswith("$"):
        return _COMPOUND.get(name)
    base = name.removeprefix("PDKGEN")
    kind = GATE_KINDS.get(base) or GATE_KINDS.get(_STRENGTH.sub("", base))
    if kind is not None:
        return of_kind(kind.name, kind.inputs, kind.outputs)
    match = _FOUNDRY.fullmatch(name)
    return _foundry_cell(match[1]) if match else None


def _foundry_cell(base: str) -> LibraryCell | None:
    if base in _FOUNDRY_KINDS:
        return _renamed(*_FOUNDRY_KINDS[base])
    if base in _COMPOUND:
        return _COMPOUND[base]
    match = _GATE.fullmatch(base)
    if match:
        return _simple_gate(match[1], int(match[2]), len(match[3]))
    match = _AND_OR.fullmatch(base)
    if match and (match[1] == "a") == match[3].startswith("o"):
        groups = tuple(
            tuple(f"{letter}{k + 1}" for k in range(int(size))) for letter, size in zip(_GROUPS, match[2], strict=False)
        )
        return _and_or(match[1] == "a", groups, inverting=match[3].endswith("i"))
    return None


def of_kind(kind: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> LibraryCell:
    """A cell that is one gate, with its own names for the pins."""
    return LibraryCell(inputs, outputs, lambda logic, nets: logic.graph.gate(kind, *nets))


def _renamed(kind: str, inputs: str, outputs: str) -> LibraryCell:
    return of_kind(kind, tuple(inputs.split()), tuple(outputs.split()))


def _simple_gate(name: str, count: int, negated: int) -> LibraryCell:
    """``nand3b`` and the like: ``b`` marks inverted inputs, the first ones of and/nand, the last ones of or/nor."""
    function, inverting = name.removeprefix("n").upper(), name[0] == "n"
    marked = range(negated) if function == "AND" else range(count - negated, count)
    pins = tuple(f"{letter}_N" if k in marked else letter for k, letter in enumerate(_GROUPS[:count]))

    def emit(logic: Logic, nets: list[int]) -> tuple[int, ...]:
        bits = [logic.inv(net) if k in marked else net for k, net in enumerate(nets)]
        return (logic.inverted(function, bits) if inverting else logic.all(function, bits),)

    return LibraryCell(pins, ("Y" if inverting else "X",), emit)


def _and_or(and_first: bool, groups: tuple[tuple[str, ...], ...], *, inverting: bool) -> LibraryCell:
    """Groups of pins ANDed and then ORed together, or ORed and then ANDed."""
    inner, outer = ("AND", "OR") if and_first else ("OR", "AND")

    def emit(logic: Logic, nets: list[int]) -> tuple[int, ...]:
        terms, start = [], 0
        for group in groups:
            terms.append(logic.all(inner, nets[start : start + len(group)]))
            start += len(group)
        return (logic.inverted(outer, terms) if inverting else logic.all(outer, terms),)

    return LibraryCell(tuple(pin for group in groups for pin in group), ("Y" if inverting else "X",), emit)
