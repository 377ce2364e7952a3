"""What is written is read back gate for gate, whatever the family; and the file defines every cell it uses."""

import inspect
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipliers import FAMILIES, Family, Gate, Netlist
from multipliers.families.exact import Exact, ExactSigned
from multipliers.families.mitchell import Mitchell
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.gates import GATE_KINDS
from multipliers.readers import parse_verilog
from multipliers.writers.verilog import write_verilog


def an_example(kind: type[Family], width: int) -> Family:
    """A member of a family that allows these widths: the first of a few parameter values."""
    if kind is SignMagnitude:
        return SignMagnitude(Mitchell())
    for values in product((2, 3, 1, 4, 0), repeat=len(inspect.signature(kind).parameters)):
        try:
            family = kind(*values)
            family.check(width, width)
            return family
        except ValueError:
            continue
    raise AssertionError(f"no parameters of {kind.__name__} allow {width} x {width}")


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_survives_a_round_trip(name: str, width: int) -> None:
    netlist = an_example(FAMILIES[name], width).netlist(width)
    text = write_verilog(netlist)
    read = parse_verilog(text)
    assert (read.name, read.signed) == (netlist.name, netlist.signed)
    assert [gate.kind for gate in read.gates] == [gate.kind for gate in netlist.gates]
    np.testing.assert_array_equal(read.product_table(), netlist.product_table())
    assert write_verilog(read) == text


def test_asymmetric_widths_and_wide_circuits() -> None:
    for family, widths in ((Exact(), (8, 3)), (ExactSigned(), (3, 8)), (Exact(), (16, 16))):
        netlist = family.netlist(*widths)
        read = parse_verilog(write_verilog(netlist))
        assert (read.width_a, read.width_b) == widths
        a = np.arange(500) % (1 << (widths[0] - 1))
        b = np.arange(500) * 7 % (1 << (widths[1] - 1))
        np.testing.assert_array_equal(read.multiply(a, b), a * b)


steps = st.lists(st.tuples(st.sampled_from(sorted(GATE_KINDS)), st.lists(st.integers(0, 999), min_size=4, max_size=4)))


@settings(max_examples=100)
@given(steps, st.lists(st.integers(0, 999), min_size=1, max_size=5), st.booleans())
def test_any_netlist_of_any_kinds_is_read_back_equal(
    chosen: list[tuple[str, list[int]]], picks: list[int], signed: bool
) -> None:
    """Nets are numbered as the reader numbers them, so the netlists are equal as values."""
    nets, gates = list(range(6)), []  # constants, two bits of a, two bits of b
    for kind, inputs in chosen:
        outputs = tuple(range(len(nets), len(nets) + len(GATE_KINDS[kind].outputs)))
        gates.append(Gate(kind, tuple(nets[i % len(nets)] for i in inputs[: len(GATE_KINDS[kind].inputs)]), outputs))
        nets.extend(outputs)
    picked = tuple(nets[i % len(nets)] for i in picks)
    netlist = Netlist("random circuit/1", (2, 3), (4, 5), picked, tuple(gates), signed)
    read = parse_verilog(write_verilog(netlist))
    assert read.name == "random_circuit/1"
    assert (read.input_a, read.input_b, read.outputs, read.gates, read.signed) == (
        netlist.input_a, netlist.input_b, netlist.outputs, netlist.gates, signed,
    )  # fmt: skip


def test_every_cell_in_use_is_defined_once() -> None:
    text = write_verilog(ExactSigned().netlist())
    used = set(re.findall(r"^  (\w+X1) ", text, re.MULTILINE))
    defined = re.findall(r"^module (\w+X1)\(", text, re.MULTILINE)
    assert sorted(used) == defined and "FAX1" in used


@pytest.mark.parametrize("name", ["plain_1", "8u", "a b", "module", "with.dots[3]", "µ"])
def test_any_name_can_be_written(name: str) -> None:
    netlist = Netlist(name, (2,), (3,), (4,), (Gate("AND2", (2, 3), (4,)),))
    assert parse_verilog(write_verilog(netlist)).name == name.replace(" ", "_")


def test_what_verilog_cannot_state_is_refused() -> None:
    with pytest.raises(ValueError, match="without product bits"):
        write_verilog(Netlist("m", (2,), (3,), (), ()))
    with pytest.raises(ValueError, match="cannot have the name of a cell"):
        write_verilog(Netlist("AND2X1", (2,), (3,), (4,), (Gate("AND2", (2, 3), (4,)),)))
