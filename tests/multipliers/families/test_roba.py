"""The rounding-based multiplier: its netlist, its published errors, worked examples."""

import numpy as np
import pytest

from multipliers.families import Family, parse_circuit
from multipliers.families.roba import Roba
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.generator import generate
from multipliers.testing import FamilyConformance


class TestRoba(FamilyConformance):
    @pytest.fixture(params=[Roba(), SignMagnitude(Roba())], ids=lambda family: family.suffix)
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("widths", [(8, 4), (8, 2), (2, 8), (2, 2), (3, 2), (1, 1), (1, 5)])
def test_narrow_circuits_equal_the_definition(widths: tuple[int, int]) -> None:
    a, b = np.indices([1 << width for width in widths])
    np.testing.assert_array_equal(Roba().netlist(*widths).product_table(), Roba().product(a, b, *widths))


def test_published_errors() -> None:
    statistics = generate(Roba()).statistics()
    assert round(100 * statistics.mre, 3) == 2.862
    assert statistics.wcre == pytest.approx(1 / 9)


def test_published_errors_at_16_bits() -> None:
    a, b = np.random.default_rng(1).integers(1, 1 << 16, size=(2, 2_000_000))
    relative = Roba().product(a, b, 16, 16) / (a * b) - 1
    assert 100 * np.abs(relative).mean() == pytest.approx(2.886, abs=0.006)
    assert abs(100 * relative.mean()) < 0.05
    assert np.abs(relative).max() <= 1 / 9 + 1e-12
    sample = np.s_[:20_000]
    np.testing.assert_array_equal(
        Roba().netlist(16).multiply(a[sample], b[sample]), Roba().product(a[sample], b[sample], 16, 16)
    )


def test_worked_examples() -> None:
    a, b = np.array([3, 6, 5, 12, 191, 255, 192, 200, 0, 1]), np.array([3, 6, 6, 11, 192, 255, 192, 0, 77, 77])
    # 3 -> 2: 2 x 3 + 2 x 3 - 4; 6 -> 8: 48 + 48 - 64; 5 -> 4, 6 -> 8: 24 + 40 - 32; 12 -> 16, 11 -> 8: 176 + 96 - 128.
    # 191 -> 128, 192 -> 256: the greatest excess; 255 -> 256: falls short by 1; 192 -> 256 twice falls short by 64^2.
    expected = [8, 32, 32, 144, 191 * 192 + 63 * 64, 255**2 - 1, 192**2 - 64**2, 0, 0, 77]
    assert Roba().product(a, b, 8, 8).tolist() == expected
    assert Roba().netlist().multiply(a, b).tolist() == expected


def test_product_is_symmetric_and_exact_for_powers_of_two() -> None:
    table = generate(Roba()).table
    np.testing.assert_array_equal(table, table.T)
    powers = 1 << np.arange(8)
    np.testing.assert_array_equal(table[powers], np.multiply.outer(powers, np.arange(256)))


@pytest.mark.parametrize("width", range(1, 10))
def test_excess_stays_below_three_quarters_of_the_range(width: int) -> None:
    a, b = np.indices((1 << width, 1 << width))
    product = Roba().product(a, b, width, width)
    assert product.min() >= 0
    assert np.where(product > a * b, product, 0).max() <= 0.75 * 4**width
    assert product.max() < 4**width


def test_widths_of_no_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="widths >= 1, got 8 x 0"):
        parse_circuit("mul8x0u_roba")
