"""Area and energy of netlists, by hand and against the measured reference."""

import dataclasses
import types

import numpy as np
import pytest

from multipliers import SKY130, Cell, Gate, Netlist, characterise
from multipliers.characterisation import toggle_rates
from multipliers.families.drum import Drum
from multipliers.families.exact import Exact
from multipliers.families.truncated import TruncatedColumns

AND = Netlist("and", (2,), (3,), (4,), (Gate("AND2", (2, 3), (4,)),))


def test_energy_of_one_gate_by_hand() -> None:
    cost = characterise(AND, SKY130)
    half_square_v = 0.5 * 1.8**2
    inputs = 2 * 0.5 * 1.62 * half_square_v  # each input toggles with 2 * 1/2 * 1/2
    output = 2 * 0.25 * 0.75 * (8.03 + 4.60 * half_square_v)
    assert cost.energy_pj == pytest.approx((inputs + output) * 1e-3, rel=1e-12)
    assert cost.area_um2 == 6.26


def test_energy_under_histograms_by_hand() -> None:
    rates = toggle_rates(AND, p=[1, 3], q=[4, 1])
    assert rates[2] == pytest.approx(2 * 0.75 * 0.25)
    assert rates[3] == pytest.approx(2 * 0.2 * 0.8)
    assert rates[4] == pytest.approx(2 * 0.15 * 0.85)
    assert characterise(AND, SKY130, p=[1, 0]).energy_pj < characterise(AND, SKY130).energy_pj
    assert characterise(AND, SKY130, p=[0, 1], q=[1, 0]).energy_pj == 0


def test_uniform_histograms_change_nothing() -> None:
    netlist = Drum(4).netlist()
    uniform = np.ones(256)
    assert characterise(netlist, SKY130, uniform, uniform).energy_pj == pytest.approx(
        characterise(netlist, SKY130).energy_pj
    )


def test_small_operands_cost_less() -> None:
    netlist = Exact().netlist()
    small = np.exp(-np.arange(256) / 20)
    assert characterise(netlist, SKY130, small, small).energy_pj < 0.6 * characterise(netlist, SKY130).energy_pj


def test_exact_multiplier_agrees_with_the_measured_structure() -> None:
    """An EvoApproxLib exact multiplier of the same structure was measured at 1,287 fJ with these cells."""
    assert characterise(Exact().netlist(), SKY130).energy_pj == pytest.approx(1.287, rel=0.05)


def test_toggles_equal_a_count_over_all_pairs() -> None:
    netlist = TruncatedColumns(3).netlist(4, 4)
    rates = toggle_rates(netlist)
    table = netlist.product_table()
    for position, net in enumerate(netlist.outputs):
        ones = np.mean(table >> position & 1)
        assert rates[net] == pytest.approx(2 * ones * (1 - ones))


def test_missing_cell_is_named() -> None:
    few = dataclasses.replace(SKY130, cells=types.MappingProxyType({"OR2": Cell(1.0, 1.0, 1.0)}))
    with pytest.raises(ValueError, match="no figures for AND2; it covers OR2"):
        characterise(AND, few)


def test_malformed_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match=r"histogram p .* shape \(2,\)"):
        characterise(AND, SKY130, p=[1, 1, 1])
