"""The logarithmic multiplier with a set-one adder: its netlist, and how far it may be from Mitchell's."""

import numpy as np
import pytest

from multipliers.families import Family, parse_circuit
from multipliers.families.alm_soa import AlmSoa
from multipliers.families.mitchell import Mitchell
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.generator import generate
from multipliers.testing import FamilyConformance


class TestAlmSoa(FamilyConformance):
    @pytest.fixture(
        params=[AlmSoa(1), AlmSoa(3), SignMagnitude(AlmSoa(4))],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("widths", [(8, 4), (8, 2), (2, 8), (2, 2), (8, 8)])
def test_circuits_equal_the_definition_for_every_number_of_ones(widths: tuple[int, int]) -> None:
    a, b = np.indices([1 << width for width in widths])
    for ones in range(1, max(widths)):
        family = AlmSoa(ones)
        np.testing.assert_array_equal(family.netlist(*widths).product_table(), family.product(a, b, *widths))


@pytest.mark.parametrize("ones", range(1, 8))
def test_product_stays_as_near_to_mitchells_as_the_adder(ones: int) -> None:
    """The low bits add up to 0..2^(w-1) + 2^w - 2 without, 2^w..2^(w+1) - 2 with a carry; they become 2^w - 1."""
    soa, mitchell = (generate(family).table.astype(np.int64) for family in (AlmSoa(ones), Mitchell()))
    lowest = mitchell * (1 - ((1 << (ones - 1)) - 1) / 128)
    highest = mitchell * (1 + ((1 << ones) - 1) / 128)
    assert np.all(soa >= np.floor(lowest)) and np.all(soa <= highest)
    assert not np.array_equal(soa, mitchell)


def test_powers_of_two_show_the_ones() -> None:
    powers = 1 << np.arange(8)
    for ones in range(1, 8):
        expected = np.multiply.outer(powers, powers) * (128 + (1 << ones) - 1) // 128
        np.testing.assert_array_equal(AlmSoa(ones).product(powers[:, None], powers[None, :], 8, 8), expected)


def test_worked_examples() -> None:
    a, b = np.array([29, 29, 1, 3, 0, 255, 255]), np.array([29, 16, 1, 1, 200, 0, 255])
    # 29 = 2^4 (1 + .1101000b). Four ones: 110 + 110 + carry 1 (both bits 3 are 1) = 1101 -> 2^9 x 1.101_1111b = 892.
    # 255 = 2^7 x 1.1111111b: 111 + 111 + 1 = 1111 -> 2^15 x 1.111_1111b.
    four = [892, 256 * (128 + 0b110_1111) // 128, 1, 3, 0, 0, 65280]
    assert AlmSoa(4).product(a, b, 8, 8).tolist() == four
    assert AlmSoa(4).netlist().multiply(a, b).tolist() == four
    # Seven ones: only the characteristics and the carry of the highest mantissa bits are left.
    assert AlmSoa(7).product(a, b, 8, 8).tolist() == [1020, 510, 1, 3, 0, 0, 65280]


def test_ones_raise_the_product_on_average_and_first_lower_the_error() -> None:
    statistics = [generate(family).statistics() for family in (Mitchell(), *(AlmSoa(w) for w in range(1, 8)))]
    biases = [s.bias for s in statistics]
    assert biases == sorted(biases) and biases[0] < 0 < biases[-1]
    measured = [3.79, 3.53, 3.25, 3.09, 3.46, 5.58, 11.25, 23.46]
    assert [round(100 * s.mre, 2) for s in statistics] == measured


def test_eleven_ones_are_best_at_16_bits() -> None:
    a, b = np.random.default_rng(1).integers(1, 1 << 16, size=(2, 400_000))
    errors = {w: np.abs(AlmSoa(w).product(a, b, 16, 16) / (a * b) - 1).mean() for w in range(8, 14)}
    assert min(errors, key=errors.__getitem__) == 11
    assert 100 * errors[11] == pytest.approx(3.35, abs=0.01)
    sample = np.s_[:20_000]
    np.testing.assert_array_equal(
        AlmSoa(11).netlist(16).multiply(a[sample], b[sample]), AlmSoa(11).product(a[sample], b[sample], 16, 16)
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_almsoa0", "1..7 ones for 8 x 8, got 0"),
        ("mul8u_almsoa8", "1..7 ones"),
        ("mul4x2u_almsoa4", "1..3 ones"),
        ("mul8x1u_almsoa1", "widths >= 2"),
    ],
)
def test_impossible_ones_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
