"""The exact Dadda trees, the reference."""

import pytest

from multipliers import Family, generate
from multipliers.families.array import Array
from multipliers.families.exact import Exact, ExactSigned
from multipliers.testing import FamilyConformance


class TestExact(FamilyConformance):
    @pytest.fixture(params=[Exact(), ExactSigned()], ids=["unsigned", "signed"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("name", ["mul8u_exact", "mul8s_exact", "mul8x3u_exact", "mul2x7s_exact"])
def test_is_exact(name: str) -> None:
    assert generate(name).is_exact


def test_two_and_one_rows_are_the_array() -> None:
    assert Exact().netlist(8, 2).gates == Array().netlist(8, 2).gates
    assert generate("mul8x1u_exact").is_exact


def test_signed_operands_of_one_bit_are_refused() -> None:
    with pytest.raises(ValueError, match="signed widths >= 2, got 1 x 8"):
        ExactSigned().netlist(1, 8)
