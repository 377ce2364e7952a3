"""Significance-driven logic compression: conformance, check figures, worked examples."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.sdlc import Sdlc
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.testing import FamilyConformance


class TestSdlc(FamilyConformance):
    @pytest.fixture(params=[Sdlc(), SignMagnitude(Sdlc())], ids=["unsigned", "signed"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


def test_check_figures() -> None:
    statistics = generate(Sdlc()).statistics()
    assert round(statistics.mae, 1) == 229.4 and statistics.bias == -statistics.mae
    assert statistics.wce == 3670
    assert round(100 * statistics.ep, 1) == 49.1
    assert round(100 * statistics.mre, 2) == 2.00


def test_worked_examples() -> None:
    def product(a: int, b: int) -> int:
        return int(Sdlc().product(np.array(a), np.array(b), 8, 8))

    # 3 x 3: a_1 b_0 and a_0 b_1 meet in column 1 and become one: 9 - 2.
    assert product(3, 3) == 7
    # Rows 1 and 2 belong to different pairs: 3 x 6 is exact.
    assert product(3, 6) == 18
    # Pair 0 is ORed in columns 0..7 only: the bits a_7 b_0 and a_6 b_1 (column 7) merge, a_7 b_1 is alone.
    assert product(0b11000000, 3) == 192 * 3 - 128
    # Pair 3 (rows 6, 7) is ORed up to column 10: a_3, a_4 meet in column 10, a_4, a_5 in column 11.
    assert product(0b00011000, 0b11000000) == 24 * 192 - 1024
    assert product(0b00110000, 0b11000000) == 48 * 192


def test_error_grows_with_the_operands_that_meet_most() -> None:
    """All bits set is the worst pair: every column of every pair loses a one."""
    multiplier = generate(Sdlc())
    assert int(multiplier.error_map()[255, 255]) == -3670 == int(multiplier.error_map().min())


def test_costs_less_than_the_exact_array() -> None:
    assert generate(Sdlc()).energy_relative < 1


def test_refuses_one_row() -> None:
    with pytest.raises(ValueError, match="widths >= 2, got 8 x 1"):
        Sdlc().netlist(8, 1)
