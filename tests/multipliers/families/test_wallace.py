"""The Wallace tree multipliers."""

import pytest

from multipliers import Family, generate
from multipliers.families.array import Array
from multipliers.families.wallace import Wallace, WallaceSigned
from multipliers.testing import FamilyConformance


class TestWallace(FamilyConformance):
    @pytest.fixture(params=[Wallace(), WallaceSigned()], ids=["unsigned", "signed"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("name", ["mul8u_wallace", "mul8s_wallace", "mul8x3u_wallace", "mul2x7s_wallace"])
def test_is_exact(name: str) -> None:
    assert generate(name).is_exact


def test_two_and_one_rows_are_the_array() -> None:
    assert Wallace().netlist(8, 2).gates == Array().netlist(8, 2).gates
    assert generate("mul8x1u_wallace").is_exact


def test_signed_operands_of_one_bit_are_refused() -> None:
    with pytest.raises(ValueError, match="signed widths >= 2, got 1 x 8"):
        WallaceSigned().netlist(1, 8)
