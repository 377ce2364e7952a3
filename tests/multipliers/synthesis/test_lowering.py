"""Kinds a library lacks are made of those it has."""

import dataclasses
import types

import numpy as np
import pytest

from multipliers import SKY130, CellLibrary, Gate, Netlist
from multipliers.families.exact import ExactSigned
from multipliers.gates import GATE_KINDS
from multipliers.synthesis.lowering import RECIPES, lower, made_of


def library(*kinds: str) -> CellLibrary:
    """SKY130 with only some of its cells."""
    return dataclasses.replace(SKY130, cells=types.MappingProxyType({kind: SKY130.cells["INV"] for kind in kinds}))


def single(kind: str) -> Netlist:
    inputs = (2, 3, 4)[: len(GATE_KINDS[kind].inputs)]
    outputs = (10, 11)[: len(GATE_KINDS[kind].outputs)]
    return Netlist(kind, (2,), (3, 4), outputs, (Gate(kind, inputs, outputs),))


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("kinds", [("INV", "NAND2", "NOR2"), ("INV", "NAND2", "NOR2", "XOR2", "AND2", "OAI21")])
def test_every_recipe_computes_its_kind(kind: str, kinds: tuple[str, ...]) -> None:
    if kind in kinds:
        return
    lowered = lower(single(kind), library(*kinds))
    assert set(lowered.gate_counts()) <= set(kinds)
    np.testing.assert_array_equal(lowered.product_table(), single(kind).product_table())


def test_covered_kinds_are_left_alone() -> None:
    netlist = ExactSigned().netlist()
    assert lower(netlist, library(*GATE_KINDS)) == netlist


def test_whole_circuit_without_adders() -> None:
    netlist = ExactSigned().netlist()
    lowered = lower(netlist, library("INV", "NAND2", "NOR2", "XOR2", "XNOR2", "AND2", "OR2", "OAI21"))
    np.testing.assert_array_equal(lowered.product_table(), netlist.product_table())
    assert not {"FA", "HA"} & set(lowered.gate_counts())


def test_made_of_groups_the_cells_by_gate() -> None:
    netlist = ExactSigned().netlist()
    groups = made_of(netlist, library("INV", "NAND2", "NOR2"))
    assert len(groups) == len(netlist.gates)
    for gate, group in zip(netlist.gates, groups, strict=True):
        assert set(gate.outputs) <= {net for cell in group for net in cell.outputs}


def test_impossible_kinds_are_named() -> None:
    with pytest.raises(ValueError, match=r"no figures for NAND2; it covers INV"):
        lower(single("NAND2"), library("INV"))
    with pytest.raises(ValueError, match=r"no figures for HA, which needs NAND2; it covers INV, XOR2"):
        lower(single("HA"), library("INV", "XOR2"))
