"""Conformance suites: what every multiplier family and every source of circuits must satisfy.

In a pytest module, subclass a suite (name the class ``Test...``) and override its one fixture::

    class TestDrum(FamilyConformance):
        @pytest.fixture(params=[Drum(3), Drum(4)])
        def family(self, request):
            return request.param

The suites themselves need no pytest; each method takes what the fixture of the same name supplies.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from multipliers.cell_libraries import DEFAULT_CELLS
from multipliers.characterisation import characterise
from multipliers.families import Family, parse_circuit
from multipliers.generator import generate
from multipliers.library import Library
from multipliers.operands import operand_range, operand_values
from multipliers.synthesis.mapping import live_gates

EXHAUSTIVE_WIDTHS = ((8, 8), (4, 4), (5, 3), (3, 6))
SAMPLED_WIDTHS = ((12, 12), (16, 16), (16, 8))


class FamilyConformance:
    """A family's netlist equals its definition, and its circuits are named, costed and refused properly."""

    def test_netlist_equals_definition_for_all_operands(self, family: Family) -> None:
        allowed = [widths for widths in EXHAUSTIVE_WIDTHS if family.allows(*widths)]
        assert allowed, f"{family!r} allows none of {EXHAUSTIVE_WIDTHS}"
        for width_a, width_b in allowed:
            a = operand_values(width_a, family.signed).astype(np.int64)[:, None]
            b = operand_values(width_b, family.signed).astype(np.int64)[None, :]
            expected = family.product(a, b, width_a, width_b)
            np.testing.assert_array_equal(family.netlist(width_a, width_b).product_table(), expected)

    def test_netlist_equals_definition_on_wide_samples(self, family: Family) -> None:
        generator = np.random.default_rng(0)
        for width_a, width_b in (widths for widths in SAMPLED_WIDTHS if family.allows(*widths)):
            a, b = (_samples(generator, width, family.signed) for width in (width_a, width_b))
            expected = family.product(a, b, width_a, width_b)
            np.testing.assert_array_equal(family.netlist(width_a, width_b).multiply(a, b), expected)

    def test_definition_is_total_and_fits_the_product(self, family: Family) -> None:
        width_a, width_b = next(widths for widths in EXHAUSTIVE_WIDTHS if family.allows(*widths))
        multiplier = generate(family, width_a, width_b)
        assert multiplier.table.shape == (1 << width_a, 1 << width_b)
        assert multiplier.signed == family.signed

    def test_name_stands_for_the_circuit(self, family: Family) -> None:
        for width_a, width_b in (widths for widths in EXHAUSTIVE_WIDTHS if family.allows(*widths)):
            assert parse_circuit(family.name(width_a, width_b)) == (family, width_a, width_b)

    def test_is_an_immutable_value(self, family: Family) -> None:
        assert dataclasses.is_dataclass(family)
        copy = dataclasses.replace(family)
        assert copy == family and hash(copy) == hash(family)
        for field in dataclasses.fields(family):
            try:
                setattr(family, field.name, None)
            except dataclasses.FrozenInstanceError:
                continue
            raise AssertionError(f"{family!r}: field {field.name} can be changed")

    def test_generation_is_deterministic(self, family: Family) -> None:
        width_a, width_b = next(widths for widths in EXHAUSTIVE_WIDTHS if family.allows(*widths))
        assert family.netlist(width_a, width_b) == family.netlist(width_a, width_b)

    def test_netlist_has_no_dead_gate_and_a_cost(self, family: Family) -> None:
        width_a, width_b = next(widths for widths in EXHAUSTIVE_WIDTHS if family.allows(*widths))
        netlist = family.netlist(width_a, width_b)
        assert len(netlist.outputs) == width_a + width_b
        assert tuple(live_gates(netlist.gates, netlist.outputs)) == netlist.gates
        cost = characterise(netlist, DEFAULT_CELLS)
        assert cost.energy_pj > 0 and cost.area_um2 > 0

    def test_refuses_impossible_widths(self, family: Family) -> None:
        try:
            family.netlist(0, 8)
        except ValueError:
            return
        raise AssertionError(f"{family!r} accepted an operand of 0 bits")


class LibraryConformance:
    """A library, generated or imported, is consistent and survives being saved."""

    def test_circuits_are_consistent(self, library: Library) -> None:
        assert len(library) > 0
        for name, multiplier in library.items():
            assert multiplier.name == name
            statistics = multiplier.statistics()
            assert abs(statistics.bias) <= statistics.mae <= statistics.wce
            assert statistics.mae**2 <= statistics.mse * (1 + 1e-12) <= statistics.wce**2 * (1 + 1e-9)
            assert 0 <= statistics.ep <= 1
            assert (statistics.wce == 0) == (statistics.ep == 0)
            assert statistics.mre_8b2017 <= statistics.wcre_8b2017 and statistics.mre <= statistics.wcre
            assert (statistics.sampled_pairs == 0) == multiplier.has_table

    def test_tables_hold_what_multiply_gives(self, library: Library) -> None:
        generator = np.random.default_rng(0)
        for multiplier in library.values():
            a, b = (_samples(generator, width, multiplier.signed) for width in (multiplier.width_a, multiplier.width_b))
            products = multiplier.multiply(a, b)
            assert products.dtype == np.int64 and products.shape == a.shape
            if multiplier.netlist is not None:
                np.testing.assert_array_equal(multiplier.netlist.multiply(a, b), products)
            if multiplier.has_table:
                assert multiplier.table.dtype == np.int32 and not multiplier.table.flags.writeable
                assert multiplier.table.shape == (1 << multiplier.width_a, 1 << multiplier.width_b)
                rows, columns = a & ((1 << multiplier.width_a) - 1), b & ((1 << multiplier.width_b) - 1)
                np.testing.assert_array_equal(multiplier.table[rows, columns], products)
                np.testing.assert_array_equal(multiplier.exact_products() + multiplier.error_map(), multiplier.table)

    def test_energy_is_relative_to_one_exact_circuit(self, library: Library) -> None:
        """Circuits of the same widths, signedness and flow share the energy that 1.0 stands for."""
        references: dict[tuple[int, int, bool, str, str], float] = {}
        for m in library.values():
            if m.energy_relative == 0:
                assert m.energy_pj == 0
                continue
            flow = (m.width_a, m.width_b, m.signed, m.provenance.node, m.provenance.method)
            reference_pj = references.setdefault(flow, m.energy_pj / m.energy_relative)
            np.testing.assert_allclose(m.energy_pj / m.energy_relative, reference_pj, rtol=1e-9)

    def test_front_is_not_dominated_and_covers_the_rest(self, library: Library) -> None:
        front = library.pareto()
        for multiplier in library.values():
            rivals = [
                (rival.statistics().mae, rival.energy_relative)
                for rival in front.values()
                if (rival.signed, rival.width_a, rival.width_b)
                == (multiplier.signed, multiplier.width_a, multiplier.width_b)
            ]
            point = (multiplier.statistics().mae, multiplier.energy_relative)
            better = [r for r in rivals if r[0] <= point[0] and r[1] <= point[1] and r != point]
            assert (not better) if multiplier.name in front else (better or point in rivals)

    def test_survives_a_round_trip(self, library: Library) -> None:
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder, "first.npz"), Path(folder, "second.npz")
            library.save(first)
            restored = Library.load(first)
            restored.save(second)
            assert first.read_bytes() == second.read_bytes()
        assert list(restored) == list(library)
        for name, multiplier in library.items():
            copy = restored[name]
            assert copy.content_hash == multiplier.content_hash
            for field in dataclasses.fields(multiplier):
                if field.name != "function":
                    assert getattr(copy, field.name) == getattr(multiplier, field.name)


def _samples(generator: np.random.Generator, width: int, signed: bool) -> np.ndarray:
    """Random operands of every magnitude, with the extremes."""
    low, high = operand_range(width, signed)
    uniform = generator.integers(low, high, size=2000, endpoint=True)
    small = uniform >> generator.integers(0, width, size=2000)
    extremes = generator.choice([low, high, 0, 1], size=200)
    samples: np.ndarray = np.concatenate([uniform, small, extremes])
    return generator.permutation(samples)
