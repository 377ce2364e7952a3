"""The array of lower-part-OR adders: the adder and the multiplier."""

import numpy as np
import pytest

from multipliers import Family, NetlistBuilder, generate
from multipliers.families.array import Array
from multipliers.families.lower_or import LowerOr, lower_or_add, lower_or_sum
from multipliers.families.registry import parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.netlist import ZERO
from multipliers.testing import FamilyConformance


class TestLowerOr(FamilyConformance):
    @pytest.fixture(params=[0, 1, 4, 6, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return LowerOr(request.param)


class TestLowerOrAcrossMostColumns(FamilyConformance):
    @pytest.fixture(params=[LowerOr(12), LowerOr(15), SignMagnitude(LowerOr(6))], ids=lambda family: family.suffix)
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


def test_check_figures_of_the_adder() -> None:
    x, y = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    error = lower_or_sum(x, y, 4) - (x + y)
    assert round(100 * float((error != 0).mean()), 2) == 68.36
    assert float(np.abs(error).mean()) == 2.875
    assert int(np.abs(error).max()) == 8


@pytest.mark.parametrize("low", range(9))
def test_adder_netlist_equals_its_definition(low: int) -> None:
    circuit = NetlistBuilder("loa", 8, 8)
    netlist = circuit.finish(lower_or_add(circuit, [*circuit.a, ZERO], [*circuit.b, ZERO], low))
    x, y = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    np.testing.assert_array_equal(netlist.product_table(), lower_or_sum(x, y, low))


def test_adder_by_hand() -> None:
    # 0b0110 + 0b0011, two low bits ORed: 11, carry 1 & 1, 01 + 00 + 1 = 10.
    assert int(lower_or_sum(np.array(0b0110), np.array(0b0011), 2)) == 0b1011
    # The bits below l - 1 give no carry: 01 + 01 in the low part is 01.
    assert int(lower_or_sum(np.array(1), np.array(1), 2)) == 1


def test_check_figures_of_the_array() -> None:
    statistics = generate(LowerOr(6)).statistics()
    assert round(statistics.mae, 1) == 15.5
    assert statistics.wce == 88


def test_no_ored_column_is_the_exact_array() -> None:
    assert LowerOr(0).netlist().gates == Array().netlist().gates


def test_column_zero_is_never_shared() -> None:
    """Only row 0 has a bit in column 0, so OR is exact there."""
    assert generate(LowerOr(1)).is_exact


@pytest.mark.parametrize(
    ("name", "message"), [("mul8u_loa16", r"0\.\.15 columns"), ("mul8s_loa4", "its sign-magnitude form is called sm_")]
)
def test_refusals(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
