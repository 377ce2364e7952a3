"""The radix-4 Booth multipliers."""

import pytest

from multipliers import Family, NetlistBuilder, generate
from multipliers.families.booth import Booth, BoothSigned, booth_rows
from multipliers.netlist import ONE
from multipliers.testing import FamilyConformance


class TestBooth(FamilyConformance):
    @pytest.fixture(params=[Booth(), BoothSigned()], ids=["unsigned", "signed"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("widths", ["8", "8x3", "3x8", "2", "7x5", "2x9"])
@pytest.mark.parametrize("sign", "us")
def test_is_exact(widths: str, sign: str) -> None:
    assert generate(f"mul{widths}{sign}_booth").is_exact


@pytest.mark.parametrize("widths", ["1", "1x2", "2x1", "9x1"])
def test_unsigned_operands_of_one_bit(widths: str) -> None:
    assert generate(f"mul{widths}u_booth").is_exact


@pytest.mark.parametrize(("width_b", "digits"), [(2, 1), (3, 2), (8, 4), (9, 5)])
def test_half_as_many_rows_as_bits(width_b: int, digits: int) -> None:
    """A row and a carry per digit, and one row of constants."""
    circuit = NetlistBuilder("rows", 8, width_b, signed=True)
    rows = booth_rows(circuit, circuit.a, circuit.b, 8 + width_b)
    assert len(rows) == 2 * digits + 1
    constant = sum(1 << k for k, net in enumerate(rows[-1]) if net == ONE)
    assert constant == -sum(1 << (2 * i + 8) for i in range(digits)) % (1 << (8 + width_b))


def test_signed_operands_of_one_bit_are_refused() -> None:
    with pytest.raises(ValueError, match="signed widths >= 2, got 8 x 1"):
        BoothSigned().netlist(8, 1)
