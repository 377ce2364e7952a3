"""Toggle counts against a slow event simulation written from the definition, and by hand."""

import dataclasses
import types
from collections import Counter

import numpy as np
import pytest

from multipliers import SKY130, Gate, Netlist, NetlistBuilder
from multipliers.characterisation.stimulus import TRANSITIONS, Stimulus
from multipliers.characterisation.switching import glitch_toggles, zero_delay_toggles
from multipliers.families.exact import Exact
from multipliers.families.mitchell import Mitchell
from multipliers.gates import GATE_KINDS
from multipliers.simulation import ones, unpack
from multipliers.synthesis.lowering import lower, made_of

GOLDEN = 7_126_028
"""Glitches of ``ripple_array(8, 8)`` over all transitions."""


def ripple_array(width_a: int, width_b: int) -> Netlist:
    """Partial products added row by row with ripple carries: the structure with the most glitches."""
    circuit = NetlistBuilder("ripple", width_a, width_b)
    total = [circuit.and2(x, circuit.b[0]) for x in circuit.a] + [0] * width_b
    for row, y in enumerate(circuit.b[1:], start=1):
        carry = 0
        for column, x in enumerate(circuit.a, start=row):
            total[column], carry = circuit.full_add(total[column], circuit.and2(x, y), carry)
        total[row + width_a] = carry
    return circuit.finish(total)


HAZARD = Netlist("hazard", (2,), (3,), (5,), (Gate("INV", (2,), (4,)), Gate("AND2", (2, 4), (5,))))


def settle(units: list[tuple[Gate, ...]], values: dict[int, int], operands: dict[int, int]) -> Counter[int]:
    """Unit-delay events of one transition; ``values`` is changed to the final state."""
    toggles: Counter[int] = Counter()

    def assign(new: dict[int, int]) -> bool:
        changed = [net for net in new if new[net] != values[net]]
        toggles.update(changed)
        values.update(new)
        return bool(changed)

    moving = assign(operands)
    while moving:
        state = {}
        for unit in units:
            seen = dict(values)
            for gate in unit:
                results = GATE_KINDS[gate.kind].function(*(seen[net] for net in gate.inputs))
                driven = {net: result & 1 for net, result in zip(gate.outputs, results, strict=True)}
                seen.update(driven)
                state.update(driven)
        moving = assign(state)
    return toggles


def reference(netlist: Netlist, stimulus: Stimulus, units: list[tuple[Gate, ...]]) -> tuple[list[int], list[int]]:
    """(zero-delay, unit-delay) toggles of every net over the transitions of a stimulus."""
    before, after = (
        np.stack([unpack(row, TRANSITIONS) for row in operands], axis=1) for operands in stimulus.transitions()
    )
    pairs, counts = np.unique(np.concatenate([before, after], axis=1), axis=0, return_counts=True)
    inputs = netlist.input_a + netlist.input_b
    zero, unit = Counter[int](), Counter[int]()
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        values = dict.fromkeys(netlist.nets, 0) | {1: 1}
        settle(units, values, dict(zip(inputs, pair[: len(inputs)], strict=True)))
        for gate in netlist.gates:  # in case nothing moved from the all-zero state
            results = GATE_KINDS[gate.kind].function(*(values[net] for net in gate.inputs))
            values.update({net: result & 1 for net, result in zip(gate.outputs, results, strict=True)})
        start = dict(values)
        for net, toggles in settle(units, values, dict(zip(inputs, pair[len(inputs) :], strict=True))).items():
            unit[net] += toggles * count
        for net in netlist.nets:
            zero[net] += (start[net] != values[net]) * count
    return [zero[net] for net in netlist.nets], [unit[net] for net in netlist.nets]


@pytest.mark.parametrize("netlist", [ripple_array(2, 2), ripple_array(3, 2), HAZARD])
def test_glitches_equal_a_slow_event_simulation(netlist: Netlist) -> None:
    stimulus = Stimulus.of(netlist.width_a, netlist.width_b)
    zero, unit = reference(netlist, stimulus, [(gate,) for gate in netlist.gates])
    expected = (np.array(unit) - np.array(zero)) / TRANSITIONS
    np.testing.assert_array_equal(glitch_toggles(netlist, stimulus), expected)


NANDS = dataclasses.replace(
    SKY130, cells=types.MappingProxyType({kind: SKY130.cells[kind] for kind in ("INV", "NAND2", "NOR2")})
)


def test_an_adder_made_of_several_cells_takes_one_unit() -> None:
    netlist = ripple_array(3, 2)
    stimulus = Stimulus.of(3, 2)
    units = made_of(netlist, NANDS)
    lowered = lower(netlist, NANDS)
    zero, unit = reference(lowered, stimulus, units)
    toggles = glitch_toggles(lowered, stimulus, units)
    np.testing.assert_array_equal(toggles, (np.array(unit) - np.array(zero)) / TRANSITIONS)
    whole = glitch_toggles(netlist, stimulus)
    for net, row in netlist.rows.items():
        assert toggles[lowered.rows[net]] == whole[row], "glitches between adders depend on what adders are made of"


def test_hazard_by_hand() -> None:
    """x AND NOT x is 0 but for one unit of time after each rise of x: two toggles."""
    stimulus = Stimulus.of(1, 1)
    before, after = (operands[0] for operands in stimulus.transitions())
    rises = int(ones((~before & after)[None, :])[0])
    assert rises == pytest.approx(TRANSITIONS / 4, rel=0.02)
    np.testing.assert_array_equal(glitch_toggles(HAZARD, stimulus), [0, 0, 0, 0, 0, 2 * rises / TRANSITIONS])
    np.testing.assert_array_equal(zero_delay_toggles(HAZARD, stimulus), [0, 0, 0.5, 0.5, 0.5, 0])


def test_one_level_of_logic_has_no_glitches() -> None:
    gates = tuple(Gate(kind, (2, 3), (4 + k,)) for k, kind in enumerate(("AND2", "XOR2", "NOR2")))
    flat = Netlist("flat", (2,), (3,), (4, 5, 6), gates)
    assert not glitch_toggles(flat, Stimulus.of(1, 1)).any()
    assert not glitch_toggles(flat, Stimulus.of(1, 1, [1, 3], [5, 2])).any()


def test_no_gates_at_all() -> None:
    wire = Netlist("wire", (2,), (3,), (3, 2, 1), ())
    assert not glitch_toggles(wire, Stimulus.of(1, 1)).any()
    np.testing.assert_array_equal(zero_delay_toggles(wire, Stimulus.of(1, 1)), [0, 0, 0.5, 0.5])


def test_glitches_are_never_negative_and_the_same_on_every_machine() -> None:
    netlist = ripple_array(8, 8)
    counts = glitch_toggles(netlist, Stimulus.of(8, 8)) * TRANSITIONS
    assert (counts >= 0).all() and (counts % 2 == 0).all()
    assert int(counts.sum()) == GOLDEN
    assert (glitch_toggles(Mitchell().netlist(), Stimulus.of(8, 8, np.arange(256))) >= 0).all()


@pytest.mark.parametrize("widths", [(8, 8), (3, 1), (1, 4), (2, 2), (9, 8)])
def test_zero_delay_toggles_follow_their_definition(widths: tuple[int, int]) -> None:
    netlist = Exact().netlist(*widths)
    generator = np.random.default_rng(3)
    p, q = (generator.random(1 << width) for width in widths)
    table = netlist.product_table()
    for histograms in ((None, None), (p, None), (None, q), (p, q)):
        weights = np.multiply.outer(
            *(np.ones(1 << w) if h is None else h for w, h in zip(widths, histograms, strict=True))
        )
        weights /= weights.sum()
        toggles = zero_delay_toggles(netlist, Stimulus.of(*widths, *histograms))
        for position, net in enumerate(netlist.outputs):
            one = float((weights * (table >> position & 1)).sum())
            assert toggles[netlist.rows[net]] == pytest.approx(2 * one * (1 - one))


def test_wide_circuits_are_sampled() -> None:
    netlist = Exact().netlist(11, 11)
    toggles = zero_delay_toggles(netlist, Stimulus.of(11, 11))
    for net in netlist.input_a + netlist.input_b:
        assert toggles[netlist.rows[net]] == pytest.approx(0.5, abs=1e-4)
    first = netlist.rows[netlist.outputs[0]]
    assert toggles[first] == pytest.approx(2 * 0.25 * 0.75, abs=0.005)
    lopsided = np.zeros(2048)
    lopsided[[0, 2047]] = 1, 3
    toggles = zero_delay_toggles(netlist, Stimulus.of(11, 11, lopsided))
    assert toggles[netlist.rows[netlist.input_a[7]]] == pytest.approx(2 * 0.75 * 0.25, abs=0.01)


def test_transitions_follow_the_histograms() -> None:
    p, q = np.array([0, 5, 0, 1]), np.array([0, 0, 0, 1, 2, 0, 0, 0])
    for operands in Stimulus.of(2, 3, p, q).transitions():
        bits = np.stack([unpack(row, TRANSITIONS) for row in operands]).astype(int)
        a, b = bits[0] + 2 * bits[1], bits[2] + 2 * bits[3] + 4 * bits[4]
        np.testing.assert_allclose(np.bincount(a, minlength=4) / TRANSITIONS, p / 6, atol=0.01)
        np.testing.assert_allclose(np.bincount(b, minlength=8) / TRANSITIONS, q / 3, atol=0.01)
        assert set(np.unique(a)) == {1, 3} and set(np.unique(b)) == {3, 4}
    before, after = Stimulus.of(8, 8).transitions()
    assert not np.array_equal(before, after)


def test_flat_histograms_are_uniform_operands() -> None:
    assert Stimulus.of(8, 8, np.full(256, 7), np.ones(256)).uniform
    assert not Stimulus.of(8, 8, np.arange(256)).uniform
    with pytest.raises(ValueError, match=r"histogram q \(operand b\) must have shape \(8,\)"):
        Stimulus.of(2, 3, None, [1, 2])
