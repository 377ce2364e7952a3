"""Area, delay and energy of netlists, by hand and against measured figures."""

import dataclasses
import itertools
import types

import numpy as np
import pytest

from multipliers import SKY130, Cell, CellLibrary, Gate, Netlist, NetlistBuilder, characterise
from multipliers.families.drum import Drum
from multipliers.families.exact import Exact, ExactSigned
from multipliers.families.perforated import Perforated
from multipliers.families.truncated import TruncatedColumns

TOY = CellLibrary(
    name="toy",
    node="none",
    supply_v=2.0,
    cells=types.MappingProxyType(
        {
            "INV": Cell(1.0, 10.0, 1.0, 5.0, 1.0),
            "NAND2": Cell(2.0, 20.0, 2.0, 10.0, 2.0),
            "AND2": Cell(3.0, 30.0, 3.0, 15.0, 0.5),
            "NOR2": Cell(2.0, 20.0, 2.0, 12.0, 3.0),
            "XOR2": Cell(5.0, 50.0, 4.0, 30.0, 1.0),
        }
    ),
    output_load_ff=7.0,
    attribution="made up",
)
TOY_ADDERS = dataclasses.replace(
    TOY,
    cells=types.MappingProxyType(
        {**TOY.cells, "HA": Cell(7.0, 40.0, 3.0, 40.0, 1.0), "FA": Cell(11.0, 60.0, 5.0, 60.0, 1.0)}
    ),
)
GOLDEN = (6.80417010363564, 4.233467955198139, 5.141404296875, 776.0, 0.8865000000000001)
"""(energy_pj, switching_pj, glitch_pj, area_um2, delay_ns) of ``carry_save_array(8)`` with ``TOY_ADDERS``."""

AND = Netlist("and", (2,), (3,), (4,), (Gate("AND2", (2, 3), (4,)),))
HALF_ADDER = Netlist("half adder", (2,), (3,), (4, 5), (Gate("HA", (2, 3), (4, 5)),))


def test_one_gate_by_hand() -> None:
    cost = characterise(AND, TOY)
    operands = 2 * 0.5 * 3.0 * 2.0  # each toggles with 2 * 1/2 * 1/2; 3 fF at 0.5 V^2 = 2
    product = 2 * 0.25 * 0.75 * (30.0 + 7.0 * 2.0)
    assert cost.switching_pj == pytest.approx((operands + product) * 1e-3, rel=1e-12)
    assert cost.glitch_pj == 0 and cost.energy_pj == cost.switching_pj
    assert cost.area_um2 == 3.0
    assert cost.delay_ns == pytest.approx((15.0 + 0.5 * 7.0) * 1e-3)


def test_a_library_without_adders_by_hand() -> None:
    """XOR2 and AND2: area and load of both, the slower one sets the delay."""
    cost = characterise(HALF_ADDER, TOY)
    assert cost.area_um2 == 8.0
    operands = 2 * 0.5 * (4.0 + 3.0) * 2.0
    total = 0.5 * (50.0 + 14.0)
    carry = 2 * 0.25 * 0.75 * (30.0 + 14.0)
    assert cost.switching_pj == pytest.approx((operands + total + carry) * 1e-3, rel=1e-12)
    assert cost.delay_ns == pytest.approx(37e-3)


def test_critical_path_by_hand() -> None:
    """not (not x and y): the path through the inverter, with the load of every stage."""
    gates = (Gate("INV", (2,), (4,)), Gate("NAND2", (4, 3), (5,)))
    cost = characterise(Netlist("path", (2,), (3,), (5, 4), gates), TOY)
    assert cost.delay_ns == pytest.approx(1e-3 * ((5.0 + 1.0 * (2.0 + 7.0)) + (10.0 + 2.0 * 7.0)))


def test_energy_under_histograms_by_hand() -> None:
    cost = characterise(AND, TOY, p=[1, 3], q=[4, 1])
    energy = 2 * 0.75 * 0.25 * 6.0 + 2 * 0.2 * 0.8 * 6.0 + 2 * 0.15 * 0.85 * 44.0
    assert cost.switching_pj == pytest.approx(energy * 1e-3)
    assert characterise(AND, TOY, p=[1, 0]).energy_pj < characterise(AND, TOY).energy_pj
    assert characterise(AND, TOY, p=[0, 1], q=[1, 0]).energy_pj == 0


def test_wires_cost_only_their_load() -> None:
    cost = characterise(Netlist("wires", (2,), (3,), (2, 1, 0), ()), TOY)
    assert cost.area_um2 == 0 and cost.delay_ns == 0
    assert cost.energy_pj == pytest.approx(0.5 * 14.0 * 1e-3)


def test_energy_is_switching_and_half_the_glitches() -> None:
    cost = characterise(Exact().netlist(), SKY130)
    assert cost.energy_pj == cost.switching_pj + 0.5 * cost.glitch_pj
    assert cost.glitch_pj > 0


def test_uniform_histograms_change_nothing() -> None:
    netlist = Drum(4).netlist()
    assert characterise(netlist, SKY130, np.ones(256), np.full(256, 3)) == characterise(netlist, SKY130)


def test_nearly_uniform_histograms_change_little() -> None:
    netlist = ExactSigned().netlist()
    nearly = np.ones(256)
    nearly[0] += 1e-9
    first, second = characterise(netlist, SKY130, nearly, nearly), characterise(netlist, SKY130)
    assert first.switching_pj == pytest.approx(second.switching_pj, rel=1e-9)
    assert first.glitch_pj == pytest.approx(second.glitch_pj, rel=0.01)


def test_small_operands_cost_less() -> None:
    netlist = Exact().netlist()
    small = np.exp(-np.arange(256) / 20)
    assert characterise(netlist, SKY130, small, small).energy_pj < 0.6 * characterise(netlist, SKY130).energy_pj


def carry_save_array(width: int) -> Netlist:
    """Rows of adders that pass carries down, not along; one ripple-carry row at the end."""
    circuit = NetlistBuilder("carry-save", width, width)
    sums, carries, product = [circuit.and2(x, circuit.b[0]) for x in circuit.a], [0] * width, []
    for y in circuit.b[1:]:
        product.append(sums[0])
        cells = [
            circuit.full_add(above, circuit.and2(x, y), carry)
            for above, x, carry in zip([*sums[1:], 0], circuit.a, carries, strict=True)
        ]
        sums, carries = [total for total, _ in cells], [carry for _, carry in cells]
    product.append(sums[0])
    ripple = 0
    for above, carry in zip([*sums[1:], 0], carries, strict=True):
        total, ripple = circuit.full_add(above, carry, ripple)
        product.append(total)
    return circuit.finish(product)


def test_exact_multiplier_agrees_with_the_measured_structure() -> None:
    """EvoApproxLib's exact multiplier (a carry-save array) was measured at 1,287 fJ without and 2,520 fJ with all
    glitches of unit delays in SKY130, by an independent program."""
    netlist = carry_save_array(8)
    np.testing.assert_array_equal(netlist.product_table(), np.multiply.outer(np.arange(256), np.arange(256)))
    cost = characterise(netlist, SKY130)
    assert cost.switching_pj == pytest.approx(1.287, rel=0.05)
    assert cost.switching_pj + cost.glitch_pj == pytest.approx(2.520, rel=0.05)


def test_figures_are_the_same_on_every_machine() -> None:
    cost = characterise(carry_save_array(8), TOY_ADDERS)
    assert dataclasses.astuple(cost) == GOLDEN


def test_same_circuit_costs_the_same_however_it_is_written() -> None:
    """The array stated with adder cells, and with their logic spelt out."""
    netlist = carry_save_array(6)
    builder = NetlistBuilder("spelt out", 6, 6)
    new = {0: 0, 1: 1, **dict(zip(netlist.input_a + netlist.input_b, builder.a + builder.b, strict=True))}
    for gate in netlist.gates:
        x, y, *rest = (new[net] for net in gate.inputs)
        if gate.kind not in ("HA", "FA"):
            new.update(zip(gate.outputs, builder.gate(gate.kind, x, y), strict=True))
            continue
        total, carry = builder.xor2(x, y), builder.and2(x, y)
        for z in rest:
            total, carry = builder.xor2(total, z), builder.or2(carry, builder.and2(total, z))
        new.update(zip(gate.outputs, (total, carry), strict=True))
    written = builder.finish([new[net] for net in netlist.outputs])
    assert "FA" not in written.gate_counts()
    first, second = (dataclasses.astuple(characterise(circuit, SKY130)) for circuit in (netlist, written))
    assert first == pytest.approx(second, rel=1e-9)


def test_wide_circuits_are_characterised() -> None:
    narrow, wide = (characterise(Perforated(1, 2).netlist(width, width), SKY130) for width in (8, 16))
    assert 4 < wide.switching_pj / narrow.switching_pj < 7
    assert wide.glitch_pj > 4 * narrow.glitch_pj
    skewed = np.arange(1 << 16) < 16
    assert characterise(Exact().netlist(16, 16), SKY130, skewed, skewed).energy_pj < 0.1 * wide.energy_pj


def test_truncation_saves_switching_and_area() -> None:
    costs = [characterise(TruncatedColumns(d).netlist(), SKY130) for d in range(0, 13, 2)]
    for more, less in itertools.pairwise(costs):
        assert more.switching_pj > less.switching_pj and more.area_um2 > less.area_um2


def test_missing_cell_is_named() -> None:
    few = dataclasses.replace(SKY130, cells=types.MappingProxyType({"OR2": SKY130.cells["OR2"]}))
    with pytest.raises(ValueError, match="'and': cell library SKY130 has no figures for AND2, which needs NAND2"):
        characterise(AND, few)


def test_malformed_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match=r"histogram p .* shape \(2,\)"):
        characterise(AND, SKY130, p=[1, 1, 1])
