"""The multiplier of approximate adders: conformance, check figures, its adder by hand."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.approximate_adder_tree import ApproximateAdderTree
from multipliers.families.registry import parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.testing import FamilyConformance


class TestApproximateAdderTree(FamilyConformance):
    @pytest.fixture(params=[0, 1, 4, 6, 8])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return ApproximateAdderTree(request.param)


class TestApproximateAdderTreeSigned(FamilyConformance):
    @pytest.fixture(params=[0, 8])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return SignMagnitude(ApproximateAdderTree(request.param))


@pytest.mark.parametrize(("recovered", "mae"), [(0, 3789), (6, 474.9), (8, 194.3)])
def test_check_figures(recovered: int, mae: float) -> None:
    statistics = generate(ApproximateAdderTree(recovered)).statistics()
    assert round(statistics.mae, 1 if recovered else 0) == mae
    assert statistics.bias == -statistics.mae


def test_more_recovery_is_never_worse() -> None:
    figures = [generate(ApproximateAdderTree(recovered)).statistics() for recovered in range(17)]
    assert [s.mae for s in figures] == sorted((s.mae for s in figures), reverse=True)
    assert [s.wce for s in figures] == sorted((s.wce for s in figures), reverse=True)


def test_two_rows_are_exact_once_all_errors_are_recovered() -> None:
    """S + E = A + B for one adder; only where the errors of several adders meet does their OR lose any."""
    assert generate(ApproximateAdderTree(10), 8, 2).is_exact
    assert not generate(ApproximateAdderTree(12), 8, 4).is_exact


def test_worked_examples() -> None:
    def product(recovered: int, a: int, b: int) -> int:
        return int(ApproximateAdderTree(recovered).product(np.array(a), np.array(b), 8, 2))

    # 3 x 3 = 011 + 110: both have bit 1, whose carry meets the 0 ^ 1 of bit 2: S = 101, E = 100.
    assert product(0, 3, 3) == 0b101
    assert product(7, 3, 3) == 0b101
    assert product(8, 3, 3) == 9
    # 1 x 3 = 001 + 010: no carry, exact.
    assert product(0, 1, 3) == 3


@pytest.mark.parametrize(
    ("name", "message"), [("mul8u_cr17", r"0\.\.16 bits"), ("mul8s_cr6", "its sign-magnitude form is called sm_")]
)
def test_refusals(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
