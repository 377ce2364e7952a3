"""The exact array multipliers."""

import pytest

from multipliers import Family, generate
from multipliers.families.array import Array, ArraySigned
from multipliers.testing import FamilyConformance


class TestArray(FamilyConformance):
    @pytest.fixture(params=[Array(), ArraySigned()], ids=["unsigned", "signed"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("name", ["mul8u_array", "mul8s_array", "mul8x3u_array", "mul2x7s_array", "mul8x1u_array"])
def test_is_exact(name: str) -> None:
    assert generate(name).is_exact


def test_signed_operands_of_one_bit_are_refused() -> None:
    with pytest.raises(ValueError, match="signed widths >= 2, got 8 x 1"):
        ArraySigned().netlist(8, 1)
