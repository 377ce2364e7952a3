"""The enhanced static segment multiplier: its netlist, its published errors, worked examples."""

import numpy as np
import pytest

from multipliers.families import Family, parse_circuit
from multipliers.families.enhanced_segment import EnhancedSegment
from multipliers.families.exact import Exact
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.static_segment import StaticSegment
from multipliers.generator import generate
from multipliers.testing import FamilyConformance


class TestEnhancedSegment(FamilyConformance):
    @pytest.fixture(
        params=[EnhancedSegment(4), EnhancedSegment(6), SignMagnitude(EnhancedSegment(4))],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize(
    ("widths", "bits"), [((8, 4), 4), ((8, 2), 4), ((2, 8), 6), ((3, 3), 1), ((7, 7), 3), ((7, 5), 3), ((6, 4), 2)]
)
def test_narrow_circuits_equal_the_definition(widths: tuple[int, int], bits: int) -> None:
    a, b = np.indices([1 << width for width in widths])
    family = EnhancedSegment(bits)
    np.testing.assert_array_equal(family.netlist(*widths).product_table(), family.product(a, b, *widths))


def test_published_errors() -> None:
    statistics = generate(EnhancedSegment(4)).statistics()
    assert statistics.wce == 7425  # 255^2 - 240^2
    assert round(100 * statistics.mre, 2) == 9.37
    # 79 = 0b100_1111 keeps 64, 19 = 0b1_0011 keeps 16: the former is the larger relative error.
    assert statistics.wcre == pytest.approx(1 - (64 / 79) ** 2)


def test_published_errors_at_16_bits() -> None:
    family = EnhancedSegment(8)
    a, b = np.random.default_rng(1).integers(1, 1 << 16, size=(2, 1_000_000))
    short = 1 - family.product(a, b, 16, 16) / (a * b)
    assert 100 * short.mean() == pytest.approx(1.135, abs=0.003)
    # The worst operand is 2^12 + 2^8 - 1, which keeps 2^12: random pairs hardly meet it in both operands.
    worst = np.array((1 << 12) + (1 << 8) - 1)
    assert int(family.netlist(16).multiply(worst, worst)) == 1 << 24
    assert short.max() <= 1 - (1 << 24) / int(worst) ** 2 < 0.1138
    sample = np.s_[:20_000]
    np.testing.assert_array_equal(
        family.netlist(16).multiply(a[sample], b[sample]), family.product(a[sample], b[sample], 16, 16)
    )


def test_worked_examples() -> None:
    a, b = np.array([15, 16, 31, 63, 64, 200, 255, 0]), np.array([15, 19, 31, 63, 79, 7, 255, 255])
    expected = [225, 16 * 16, 28 * 28, 60 * 60, 64 * 64, 192 * 7, 240 * 240, 0]
    assert EnhancedSegment(4).product(a, b, 8, 8).tolist() == expected
    assert EnhancedSegment(4).netlist().multiply(a, b).tolist() == expected


def test_the_third_segment_never_makes_it_worse() -> None:
    static, enhanced = (generate(family).error_map() for family in (StaticSegment(4), EnhancedSegment(4)))
    assert np.all(np.abs(enhanced) <= np.abs(static)) and np.any(enhanced != static)


def test_full_segments_are_the_exact_multiplier() -> None:
    assert EnhancedSegment(8).netlist().gates == Exact().netlist().gates


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_essm5", "segments of 4, 6, 8 bits for 8 x 8, got 5"),
        ("mul8u_essm2", "4, 6, 8 bits"),
        ("mul8u_essm10", "4, 6, 8 bits"),
        ("mul8x5u_essm4", "6, 8 bits"),
        ("mul16u_essm5", "6, 8, 10, 12, 14, 16 bits"),
    ],
)
def test_segments_that_do_not_fit_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
