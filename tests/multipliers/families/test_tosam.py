"""The truncation- and rounding-based multiplier: its netlist, its published errors, worked examples."""

import numpy as np
import pytest

from multipliers.families import Family, parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.tosam import Tosam
from multipliers.generator import generate
from multipliers.testing import FamilyConformance


class TestTosam(FamilyConformance):
    @pytest.fixture(
        params=[
            Tosam(0, 1),
            Tosam(0, 2),
            Tosam(1, 3),
            Tosam(2, 3),
            SignMagnitude(Tosam(0, 1)),
            SignMagnitude(Tosam(1, 3)),
        ],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("widths", [(8, 8), (8, 4), (8, 2), (2, 8), (2, 2)])
def test_circuits_equal_the_definition_for_all_lengths(widths: tuple[int, int]) -> None:
    a, b = np.indices([1 << width for width in widths])
    for t in range(1, max(widths)):
        for h in range(t):
            family = Tosam(h, t)
            np.testing.assert_array_equal(family.netlist(*widths).product_table(), family.product(a, b, *widths))


@pytest.mark.parametrize(("h", "t", "mean_percent"), [(0, 2, 9.90), (1, 5, 4.08), (2, 6, 2.03), (3, 7, 1.02)])
def test_published_errors_at_16_bits(h: int, t: int, mean_percent: float) -> None:
    family = Tosam(h, t)
    a, b = np.random.default_rng(1).integers(1, 1 << 16, size=(2, 1_000_000))
    relative = family.product(a, b, 16, 16) / (a * b) - 1
    assert 100 * np.abs(relative).mean() == pytest.approx(mean_percent, abs=0.012)
    sample = np.s_[:20_000]
    np.testing.assert_array_equal(
        family.netlist(16).multiply(a[sample], b[sample]), family.product(a[sample], b[sample], 16, 16)
    )


def test_worked_examples() -> None:
    a, b = np.array([181, 128, 1, 0, 99, 255]), np.array([101, 128, 1, 201, 0, 255])
    # 181 = 2^7 x 1.0110101b, 101 = 2^6 x 1.100101b; h = 1: .01b and .11b, t = 3: .0111b and .1001b.
    # 1 + 7/16 + 9/16 + 1/4 x 3/4 = 35/16, times 2^13 = 17920. 128^2: 2^14 (1 + 1/16 + 1/16 + 1/16) = 19456.
    # 1 x 1: 1.1875 rounds down. 255^2: 2^14 (1 + 15/16 + 15/16 + 9/16) = 56320.
    expected = [17920, 19456, 1, 0, 0, 56320]
    assert Tosam(1, 3).product(a, b, 8, 8).tolist() == expected
    assert Tosam(1, 3).netlist().multiply(a, b).tolist() == expected
    # h = 0: both fractions of the product are 1/2, so 1/4 is added throughout. 2^13 (1 + 3/8 + 5/8 + 1/4) = 18432.
    assert Tosam(0, 2).product(a, b, 8, 8).tolist() == [18432, 24576, 1, 0, 0, 49152]


@pytest.mark.parametrize(("h", "t"), [(h, t) for t in range(1, 16) for h in range(t)])
def test_the_greatest_product_is_the_bound_and_fits(h: int, t: int) -> None:
    ones = np.array((1 << 16) - 1)
    product = int(Tosam(h, t).product(ones, ones, 16, 16))
    assert product == int(2**30 * (4 - 2.0**-t - 2.0**-h + 2.0 ** (-2 * h - 2))) < 1 << 32


def test_longer_fractions_are_more_accurate_and_cost_more() -> None:
    circuits = [generate(Tosam(*lengths)) for lengths in [(0, 2), (1, 3), (2, 4), (3, 5), (3, 7)]]
    errors = [circuit.statistics().mre for circuit in circuits]
    energies = [circuit.energy_relative for circuit in circuits]
    assert errors == sorted(errors, reverse=True) and energies == sorted(energies)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_tosam_h2t2", "0 <= h < t <= 7 for 8 x 8, got h = 2, t = 2"),
        ("mul8u_tosam_h0t0", "0 <= h < t"),
        ("mul8u_tosam_h2t8", "t <= 7"),
        ("mul8x1u_tosam_h0t2", "widths >= 2"),
    ],
)
def test_impossible_lengths_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
