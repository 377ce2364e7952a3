"""Optimisation keeps the function, never adds transistors, is idempotent, and recovers adders."""

import dataclasses
import functools
import itertools
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipliers import SKY130, Cell, CellLibrary, Gate, Netlist, NetlistBuilder
from multipliers.cell_libraries.ihp_sg13g2 import IHP_SG13G2
from multipliers.characterisation.flow import net_loads_ff, toggle_energies_fj
from multipliers.characterisation.stimulus import Stimulus
from multipliers.characterisation.switching import zero_delay_toggles
from multipliers.families.exact import Exact, ExactSigned
from multipliers.families.registry import members
from multipliers.gates import GATE_KINDS
from multipliers.synthesis.lowering import RECIPES, lower
from multipliers.synthesis.mapping import live_gates
from multipliers.synthesis.netlist_editor import transistors
from multipliers.synthesis.optimise import optimise
from multipliers.synthesis.sharing import share_equal_nets

EXPRESSIONS = CellLibrary(
    name="expressions",
    node="none",
    supply_v=1.0,
    cells=types.MappingProxyType(dict.fromkeys(("INV", "AND2", "OR2", "XOR2", "NAND2"), Cell(1.0, 1.0, 1.0, 1.0, 1.0))),
    output_load_ff=0.0,
    attribution="made up",
)
NAND_ONLY = dataclasses.replace(
    EXPRESSIONS, cells=types.MappingProxyType(dict.fromkeys(("INV", "NAND2", "NOR2"), Cell(1.0, 1.0, 1.0, 1.0, 1.0)))
)
ADDERS_AS_LOGIC = {
    "FA": (
        ("XOR2", "A B", "x"),
        ("XOR2", "x C", "YS"),
        ("AND2", "A B", "g"),
        ("AND2", "x C", "t"),
        ("OR2", "g t", "YC"),
    ),
    "HA": (("XOR2", "A B", "YS"), ("AND2", "A B", "YC")),
}

steps = st.lists(
    st.tuples(st.sampled_from(sorted(GATE_KINDS)), st.lists(st.integers(0, 10**6), min_size=3, max_size=3)),
    max_size=40,
)
picks = st.lists(st.integers(0, 10**6), min_size=1, max_size=7)


def random_netlist(chosen: list[tuple[str, list[int]]], outputs: list[int], width: int, *, signed: bool) -> Netlist:
    """A raw netlist, foolish gates included, with nets numbered downwards in odd steps as a reader might."""
    numbers = itertools.count(5000, -7)
    a, b = (tuple(itertools.islice(numbers, width)) for _ in range(2))
    nets = [0, 1, *a, *b]
    gates = []
    for kind, choice in chosen:
        inputs = tuple(nets[-1 - c % len(nets)] for c in choice[: len(GATE_KINDS[kind].inputs)])
        driven = tuple(itertools.islice(numbers, len(GATE_KINDS[kind].outputs)))
        gates.append(Gate(kind, inputs, driven))
        nets.extend(driven)
    return Netlist("random", a, b, tuple(nets[-1 - pick % len(nets)] for pick in outputs), tuple(gates), signed)


@settings(max_examples=300)
@given(steps, picks, st.booleans())
def test_random_circuits_keep_their_function_and_shrink(
    chosen: list[tuple[str, list[int]]], outputs: list[int], signed: bool
) -> None:
    netlist = random_netlist(chosen, outputs, 3, signed=signed)
    smaller = optimise(netlist)
    np.testing.assert_array_equal(smaller.product_table(), netlist.product_table())
    assert transistors(smaller.gates) <= transistors(netlist.gates)
    assert optimise(smaller) == smaller
    assert optimise(netlist) == smaller
    assert tuple(live_gates(smaller.gates, smaller.outputs)) == smaller.gates
    values = share_equal_nets(smaller).simulate(next(smaller.all_pairs()))
    driven = [row.tobytes() for net, row in zip(smaller.nets, values, strict=True)]
    assert len(set(driven)) == len(driven), "a signal is made twice"


def test_a_net_replaced_twice_keeps_its_place() -> None:
    """The XORs are merged, then the merged gate is recovered as an adder: it must still come after what it reads."""
    gates = (
        Gate("XNOR2", (2, 5), (10,)),
        Gate("XOR2", (2, 10), (15,)),
        Gate("AND2", (15, 15), (19,)),
        Gate("XNOR2", (10, 15), (20,)),
        Gate("OR2", (19, 20), (22,)),
    )
    netlist = Netlist("twice", (2, 3), (4, 5), (22, 19), gates)
    np.testing.assert_array_equal(optimise(netlist).product_table(), netlist.product_table())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_thousands_of_random_circuits(seed: int) -> None:
    """XOR-heavy logic, where adders are found in many ways at once."""
    generator = np.random.default_rng(seed)
    kinds = ["XOR2", "XNOR2", "AND2", "OR2", "INV"]
    for _ in range(1500):
        chosen = [(str(generator.choice(kinds)), generator.integers(0, 12, 3).tolist()) for _ in range(14)]
        netlist = random_netlist(chosen, generator.integers(0, 9, 3).tolist(), 2, signed=False)
        np.testing.assert_array_equal(optimise(netlist).product_table(), netlist.product_table())


@settings(max_examples=60)
@given(steps, picks, st.booleans(), st.integers(0, 2**32))
def test_wide_random_circuits_keep_their_function(
    chosen: list[tuple[str, list[int]]], outputs: list[int], signed: bool, seed: int
) -> None:
    netlist = random_netlist(chosen, outputs, 12, signed=signed)
    low, high = (-(1 << 11), 1 << 11) if signed else (0, 1 << 12)
    a, b = np.random.default_rng(seed).integers(low, high, size=(2, 500))
    smaller = optimise(netlist)
    np.testing.assert_array_equal(smaller.multiply(a, b), netlist.multiply(a, b))
    assert transistors(smaller.gates) <= transistors(netlist.gates)
    assert optimise(smaller) == smaller


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("family", [Exact(), ExactSigned()])
@pytest.mark.parametrize("style", [EXPRESSIONS, NAND_ONLY])
def test_adders_are_recovered_from_any_logic(
    family: Exact | ExactSigned, style: CellLibrary, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = optimise(family.netlist(width, width))
    monkeypatch.setattr("multipliers.synthesis.lowering.RECIPES", {**RECIPES, **ADDERS_AS_LOGIC})
    logic = lower(original, style)
    assert set(logic.gate_counts()) <= set(style.cells)
    recovered, there = optimise(logic).gate_counts(), original.gate_counts()
    assert recovered["FA"] == there["FA"] and recovered["HA"] >= there["HA"]
    assert transistors(optimise(logic).gates) <= 1.005 * transistors(original.gates)


@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=5)))
def test_inverted_full_adders_are_recovered(flips: tuple[bool, ...]) -> None:
    """Sum and majority of any inverted bits, themselves inverted or not: one adder and at most two inverters."""
    builder = NetlistBuilder("variant", 2, 1)

    def flip(net: int, wanted: bool) -> int:
        return builder.inv(net) if wanted else net

    x, y, z = (flip(net, wanted) for net, wanted in zip((*builder.a, *builder.b), flips[:3], strict=True))
    half = builder.xor2(x, y)
    total = builder.xor2(half, z)
    carry = builder.or2(builder.and2(x, y), builder.and2(half, z))
    netlist = builder.finish([flip(total, flips[3]), flip(carry, flips[4])])
    counts = optimise(netlist).gate_counts()
    assert counts.pop("FA") == 1
    assert set(counts) <= {"INV"} and counts.get("INV", 0) <= 2


def test_adder_is_not_put_in_where_it_costs_more() -> None:
    builder = NetlistBuilder("shared", 2, 1)
    (x, y), (z,) = builder.a, builder.b
    nets = [builder.xor2(x, y), builder.gate("NOR2", x, y)[0], z]
    assert optimise(builder.finish(nets)).gate_counts() == {"NOR2": 1, "XOR2": 1}


def test_adder_whose_parts_are_used_elsewhere_keeps_them() -> None:
    builder = NetlistBuilder("used", 2, 1)
    (x, y), (z,) = builder.a, builder.b
    half = builder.xor2(x, y)
    outputs = [builder.xor2(half, z), builder.or2(builder.and2(x, y), builder.and2(half, z)), half]
    netlist = builder.finish(outputs)
    smaller = optimise(netlist)
    np.testing.assert_array_equal(smaller.product_table(), netlist.product_table())
    assert transistors(smaller.gates) <= transistors(netlist.gates)


def test_functionally_redundant_logic_vanishes() -> None:
    builder = NetlistBuilder("redundant", 2, 2)
    (x, y), (z, _) = builder.a, builder.b
    again = builder.or2(builder.and2(x, y), builder.and2(x, builder.inv(y)))  # = x
    never = builder.and2(builder.and2(x, y), builder.inv(builder.or2(y, z)))  # = 0
    complement = builder.nand2(builder.or2(x, z), builder.or2(x, builder.inv(z)))  # = not x
    netlist = optimise(builder.finish([again, never, complement]))
    assert netlist.gate_counts() == {"INV": 1}
    assert netlist.outputs[:2] == (netlist.input_a[0], 0)


def test_sharing_compares_all_pairs_of_circuits_of_several_pieces() -> None:
    """Two nets that differ for a single one of 2**18 operand pairs stay apart."""
    builder = NetlistBuilder("needle", 9, 9)
    every = functools.reduce(builder.and2, [*builder.a, *builder.b])
    nearly = builder.xor2(builder.a[3], every)
    netlist = builder.finish([builder.a[3], nearly])
    table = optimise(netlist).product_table()
    assert table[511, 511] == 1 and table[511, 510] == 3 and table[0, 0] == 0
    np.testing.assert_array_equal(table, netlist.product_table())


def area_and_switching(netlist: Netlist, cells: CellLibrary) -> tuple[float, float]:
    """Area and zero-delay energy of a circuit as it is, not optimised."""
    lowered = lower(netlist, cells)
    toggles = zero_delay_toggles(lowered, Stimulus.of(netlist.width_a, netlist.width_b))
    energies = toggle_energies_fj(lowered, cells, net_loads_ff(lowered, cells))
    return sum(cells.cell(gate.kind).area_um2 for gate in lowered.gates), float(toggles @ energies)


@pytest.mark.parametrize("cells", [SKY130, IHP_SG13G2])
def test_no_family_becomes_more_expensive(cells: CellLibrary) -> None:
    """Transistors and area never grow; energy may by a trifle, an XOR2 of SKY130 switching more than half an adder."""
    families = members(8, 8, signed=False)[::9] + members(8, 8, signed=True)[::15]
    assert len(families) > 40
    for family in families:
        netlist = family.netlist(8, 8)
        smaller = optimise(netlist)
        np.testing.assert_array_equal(smaller.product_table(), netlist.product_table())
        assert transistors(smaller.gates) <= transistors(netlist.gates), family
        before, after = area_and_switching(netlist, cells), area_and_switching(smaller, cells)
        assert after[0] <= before[0] * (1 + 1e-12), family
        assert after[1] <= before[1] * 1.02, family
        assert optimise(smaller) == smaller, family
