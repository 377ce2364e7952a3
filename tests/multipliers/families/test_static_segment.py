"""The static segment multiplier: its netlist, its published errors, worked examples."""

import numpy as np
import pytest

from multipliers.families import Family, parse_circuit
from multipliers.families.exact import Exact
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.static_segment import StaticSegment
from multipliers.generator import generate
from multipliers.testing import FamilyConformance


class TestStaticSegment(FamilyConformance):
    @pytest.fixture(
        params=[StaticSegment(4), StaticSegment(5), StaticSegment(6), SignMagnitude(StaticSegment(5))],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("widths", [(8, 4), (8, 2), (2, 8), (2, 2), (1, 5), (7, 7)])
def test_narrow_circuits_equal_the_definition(widths: tuple[int, int]) -> None:
    a, b = np.indices([1 << width for width in widths])
    for bits in range((max(widths) + 1) // 2, max(widths) + 1):
        family = StaticSegment(bits)
        np.testing.assert_array_equal(family.netlist(*widths).product_table(), family.product(a, b, *widths))


def test_published_errors() -> None:
    statistics = generate(StaticSegment(4)).statistics()
    assert statistics.wce == 7425  # 255^2 - 240^2
    assert round(100 * statistics.mre, 1) == 14.9
    # 31 keeps 16: the largest relative error, twice.
    assert statistics.wcre == pytest.approx(1 - (16 / 31) ** 2)
    a, b = np.random.default_rng(1).integers(1, 1 << 16, size=(2, 1_000_000))
    short = 1 - StaticSegment(8).product(a, b, 16, 16) / (a * b)
    assert 100 * short.mean() == pytest.approx(2.08, abs=0.015)
    sample = np.s_[:20_000]
    np.testing.assert_array_equal(
        StaticSegment(8).netlist(16).multiply(a[sample], b[sample]),
        StaticSegment(8).product(a[sample], b[sample], 16, 16),
    )


def test_worked_examples() -> None:
    a, b = np.array([15, 16, 31, 200, 255, 0, 1]), np.array([15, 15, 31, 7, 255, 255, 200])
    expected = [225, 16 * 15, 16 * 16, 192 * 7, 240 * 240, 0, 192]
    assert StaticSegment(4).product(a, b, 8, 8).tolist() == expected
    assert StaticSegment(4).netlist().multiply(a, b).tolist() == expected


def test_an_operand_no_longer_than_the_segment_is_exact() -> None:
    a, b = np.indices((256, 16))
    np.testing.assert_array_equal(StaticSegment(4).netlist(8, 4).product_table(), np.where(a < 16, a, a & ~15) * b)


def test_full_segments_are_the_exact_multiplier() -> None:
    assert StaticSegment(8).netlist().gates == Exact().netlist().gates


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_ssm3", "segments of 4..8 bits for 8 x 8, got 3"),
        ("mul8u_ssm9", "4..8 bits"),
        ("mul8x2u_ssm2", "4..8 bits"),
        ("mul7u_ssm3", "4..7 bits"),
    ],
)
def test_segments_that_do_not_cover_the_operands_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
