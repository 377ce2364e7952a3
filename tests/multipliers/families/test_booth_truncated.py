"""The truncated Booth multiplier: conformance, check figures, worked examples."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.booth import BoothSigned
from multipliers.families.booth_truncated import BoothTruncated
from multipliers.families.registry import parse_circuit
from multipliers.testing import FamilyConformance


class TestBoothTruncated(FamilyConformance):
    @pytest.fixture(params=[0, 1, 2, 3])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return BoothTruncated(request.param)


class TestBoothTruncatedWide(FamilyConformance):
    @pytest.fixture(params=[5, 6, 7, 8])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return BoothTruncated(request.param)


@pytest.mark.parametrize(("bits", "mae", "wce"), [(6, 61.5, 171), (8, 341.5, 939)])
def test_check_figures(bits: int, mae: float, wce: int) -> None:
    statistics = generate(BoothTruncated(bits)).statistics()
    assert (statistics.mae, statistics.wce, statistics.bias) == (mae, wce, -mae)


@pytest.mark.parametrize("bits", range(9))
def test_never_too_large_and_wrong_by_the_sum_of_the_row_losses(bits: int) -> None:
    multiplier = generate(BoothTruncated(bits))
    assert int(multiplier.error_map().max()) == 0
    assert multiplier.statistics().wce == sum(max(0, 2**bits - 4**i) for i in range(4))


def test_worked_examples() -> None:
    def product(bits: int, a: int, b: int) -> int:
        return int(BoothTruncated(bits).product(np.array(a), np.array(b), 8, 8))

    # b = 1 is the digit 1: 5 is floored to 0, -5 to -8.
    assert product(3, 5, 1) == 0 and product(3, -5, 1) == -8
    # b = 3 is 4 - 1: 7 x 4 = 28 stays 24, -7 becomes -8.
    assert product(3, 7, 3) == 24 - 8
    # b = -1 is the digit -1, -a = 128 is a multiple of 2^7.
    assert product(7, -128, -1) == 128
    # A digit -0 (b = 0b11111111 above its first digit) loses nothing.
    assert product(8, 0, -1) == 0


def test_nothing_floored_is_the_booth_multiplier() -> None:
    assert BoothTruncated(0).netlist().gates == BoothSigned().netlist().gates


def test_flooring_saves_area_monotonically() -> None:
    areas = [generate(BoothTruncated(bits)).area_um2 for bits in (0, 2, 4, 6, 8)]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8s_booth_v9", r"0\.\.8 bits for 8 x 8, got 9"),
        ("mul4x8s_booth_v5", r"0\.\.4 bits"),
        ("mul8u_booth_v4", "no unsigned family"),
        ("mul1s_booth_v0", "signed widths >= 2"),
    ],
)
def test_refusals(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
