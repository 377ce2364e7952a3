"""The broken-array multiplier: conformance, check figures."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.broken_array import BrokenArray
from multipliers.families.registry import parse_circuit
from multipliers.testing import FamilyConformance


class TestBrokenArray(FamilyConformance):
    @pytest.fixture(params=[(0, 0), (2, 0), (0, 5), (2, 6), (5, 10), (7, 14)])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return BrokenArray(*request.param)


def test_check_figures() -> None:
    statistics = generate(BrokenArray(2, 6)).statistics()
    assert (statistics.mae, statistics.wce) == (240.25, 961)


def test_worked_example() -> None:
    assert int(BrokenArray(1, 0).product(np.array(255), np.array(3), 8, 8)) == 255 * 2


def test_one_row_at_least_is_left() -> None:
    with pytest.raises(ValueError, match=r"horizontal 0\.\.7"):
        parse_circuit("mul8u_bam_h8v0")
