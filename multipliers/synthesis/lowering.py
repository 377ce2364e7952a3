"""Lowering: gates of kinds a cell library lacks are made of cells it has."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from multipliers.cells import CellLibrary
from multipliers.gates import GATE_KINDS
from multipliers.netlist import Gate, Netlist

Step = tuple[str, str, str]
"""(kind, input pins, output pin) of a gate inside another; pins of the outer gate have upper case names."""

RECIPES: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        "FA": (
            ("NAND2", "A B", "n"),
            ("OAI21", "A B n", "x"),
            ("XNOR2", "x C", "YS"),
            ("OAI21", "A B C", "y"),
            ("NAND2", "n y", "YC"),
        ),
        "HA": (("XOR2", "A B", "YS"), ("AND2", "A B", "YC")),
        "MUX2": (("INV", "S", "n"), ("NAND2", "A n", "x"), ("NAND2", "B S", "y"), ("NAND2", "x y", "Y")),
        "AOI21": (("AND2", "A B", "x"), ("NOR2", "x C", "Y")),
        "OAI21": (("OR2", "A B", "x"), ("NAND2", "x C", "Y")),
        "NAND3": (("AND2", "A B", "x"), ("NAND2", "x C", "Y")),
        "NOR3": (("OR2", "A B", "x"), ("NOR2", "x C", "Y")),
        "XNOR2": (("XOR2", "A B", "x"), ("INV", "x", "Y")),
        "XOR2": (("NAND2", "A B", "n"), ("NAND2", "A n", "x"), ("NAND2", "B n", "y"), ("NAND2", "x y", "Y")),
        "AND2": (("NAND2", "A B", "x"), ("INV", "x", "Y")),
        "OR2": (("NOR2", "A B", "x"), ("INV", "x", "Y")),
        "BUF": (("INV", "A", "n"), ("INV", "n", "Y")),
    }
)
"""Gates a kind is made of (x and y of the full adder: XNOR of A and B, and the inverse of C (A + B))."""


def lower(netlist: Netlist, cells: CellLibrary) -> Netlist:
    """The same circuit in kinds of gates that have figures.

    Raises:
        ValueError: if a kind has neither figures nor a replacement that has.
    """
    return dataclasses.replace(netlist, gates=tuple(itertools.chain.from_iterable(made_of(netlist, cells))))


def made_of(netlist: Netlist, cells: CellLibrary) -> list[tuple[Gate, ...]]:
    """The cells each gate of a circuit is made of, in order; ``lower`` puts them one after the other.

    Raises:
        ValueError: as ``lower``.
    """
    fresh = itertools.count(max(netlist.nets) + 1)

    def expand(gate: Gate, asked: str) -> Iterator[Gate]:
        if gate.kind in cells.cells:
            yield gate
            return
        if gate.kind not in RECIPES:
            missing = gate.kind if gate.kind == asked else f"{asked}, which needs {gate.kind}"
            raise ValueError(
                f"netlist '{netlist.name}': cell library {cells.name} has no figures for {missing}; it covers "
                f"{', '.join(cells.cells)}. Add the figures or use another library"
            )
        kind = GATE_KINDS[gate.kind]
        nets = dict(zip(kind.inputs + kind.outputs, gate.inputs + gate.outputs, strict=True))
        for step, inputs, output in RECIPES[gate.kind]:
            if output not in nets:
                nets[output] = next(fresh)
            yield from expand(Gate(step, tuple([nets[pin] for pin in inputs.split()]), (nets[output],)), asked)

    return [tuple(expand(gate, gate.kind)) for gate in netlist.gates]
