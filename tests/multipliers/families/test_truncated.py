"""Truncation of columns and of operands: conformance, check figures."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.registry import parse_circuit
from multipliers.families.truncated import TruncatedColumns, TruncatedOperands
from multipliers.testing import FamilyConformance


class TestTruncatedColumns(FamilyConformance):
    @pytest.fixture(params=[0, 1, 3, 6, 8, 11, 14])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedColumns(request.param)


class TestTruncatedOperands(FamilyConformance):
    @pytest.fixture(params=[0, 1, 2, 5, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedOperands(request.param)


@pytest.mark.parametrize("columns", range(1, 9))
def test_errors_follow_their_formula(columns: int) -> None:
    statistics = generate(TruncatedColumns(columns)).statistics()
    wce = (columns - 1) * 2**columns + 1
    assert statistics.wce == wce
    assert statistics.mae == wce / 4
    assert statistics.bias == -statistics.mae


def test_check_figures() -> None:
    columns, operands = (generate(family).statistics() for family in (TruncatedColumns(6), TruncatedOperands(2)))
    assert (columns.mae, columns.wce, columns.ep) == (80.25, 321, 0.9375)
    assert (operands.mae, operands.wce) == (380.25, 1521)


def test_worked_example() -> None:
    # 3 x 3 without column 0: 9 - 1.
    assert int(TruncatedColumns(1).product(np.array(3), np.array(3), 8, 8)) == 8


def test_truncation_saves_energy_monotonically() -> None:
    energies = [generate(TruncatedColumns(columns)).energy_relative for columns in range(12)]
    assert energies[0] == 1.0
    assert energies == sorted(energies, reverse=True)


def test_one_column_at_least_is_left() -> None:
    with pytest.raises(ValueError, match=r"0\.\.14 columns"):
        parse_circuit("mul8u_trunc15")
