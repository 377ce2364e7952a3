"""Truncation of two's complement operands: conformance, check figures."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.registry import parse_circuit
from multipliers.families.truncated_signed import TruncatedColumnsSigned, TruncatedOperandsSigned
from multipliers.testing import FamilyConformance


class TestTruncatedColumnsSigned(FamilyConformance):
    @pytest.fixture(params=[0, 1, 3, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedColumnsSigned(request.param)


class TestTruncatedOperandsSigned(FamilyConformance):
    @pytest.fixture(params=[0, 1, 3, 6])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedOperandsSigned(request.param)


@pytest.mark.parametrize("columns", range(1, 8))
def test_worst_error_is_that_of_unsigned_operands(columns: int) -> None:
    assert generate(TruncatedColumnsSigned(columns)).statistics().wce == (columns - 1) * 2**columns + 1


def test_worked_example() -> None:
    # -1 without its two low bits is -4, 7 is 4.
    assert int(TruncatedOperandsSigned(2).product(np.array(-1), np.array(7), 8, 8)) == -4 * 4


def test_the_sign_terms_stay() -> None:
    with pytest.raises(ValueError, match=r"0\.\.7 columns"):
        parse_circuit("mul8s_trunc8")
