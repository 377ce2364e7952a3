"""Partial product perforation, unsigned and of two's complement operands."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.exact import ExactSigned
from multipliers.families.perforated import Perforated, PerforatedSigned
from multipliers.families.registry import parse_circuit
from multipliers.testing import FamilyConformance


class TestPerforated(FamilyConformance):
    @pytest.fixture(params=[(0, 0), (0, 2), (1, 2), (2, 1)])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return Perforated(*request.param)


class TestPerforatedSigned(FamilyConformance):
    @pytest.fixture(params=[(0, 0), (0, 1), (0, 2), (1, 1)])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return PerforatedSigned(*request.param)


class TestPerforatedSignedOfManyRows(FamilyConformance):
    @pytest.fixture(params=[(0, 7), (3, 4), (6, 1)])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return PerforatedSigned(*request.param)


@pytest.mark.parametrize(("first", "mae", "wce"), [(0, 191.25, 765), (1, 382.5, 1530)])
def test_check_figures(first: int, mae: float, wce: int) -> None:
    statistics = generate(Perforated(first, 2)).statistics()
    assert (statistics.mae, statistics.wce) == (mae, wce)


@pytest.mark.parametrize(("first", "count"), [(0, 2), (1, 2), (4, 3)])
def test_worst_error_is_the_most_negative_operand_times_the_lost_bits(first: int, count: int) -> None:
    statistics = generate(PerforatedSigned(first, count)).statistics()
    assert statistics.wce == 128 * ((1 << count) - 1) << first


def test_worked_examples() -> None:
    def product(a: int, b: int) -> int:
        return int(PerforatedSigned(0, 2).product(np.array(a), np.array(b), 8, 8))

    # -1 without its two low bits is -4; 3 is 0.
    assert product(5, -1) == -20 and product(-128, 3) == 0


def test_no_row_left_out_is_the_exact_array() -> None:
    assert PerforatedSigned(0, 0).netlist().gates == ExactSigned().netlist().gates


def test_every_row_left_out_saves_area() -> None:
    areas = [generate(PerforatedSigned(0, count)).area_um2 for count in range(8)]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize(
    ("name", "message"), [("mul8u_perf_j7n2", r"rows within 0\.\.7"), ("mul8u_perf_j0n8", "at least one left")]
)
def test_one_row_at_least_is_left(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)


@pytest.mark.parametrize("name", ["mul8s_perf_j0n8", "mul8s_perf_j7n1", "mul8s_perf_j8n0"])
def test_the_sign_row_stays(name: str) -> None:
    with pytest.raises(ValueError, match=r"rows within 0\.\.6"):
        parse_circuit(name)
