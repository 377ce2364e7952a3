"""The multipliers of Venkatachalam and Ko: cells, altered partial products, conformance, published figures."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.registry import parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.venkatachalam_ko import (
    COMPRESSOR_ERRORS,
    FULL_ADDER_ERRORS,
    HALF_ADDER_ERRORS,
    VenkatachalamKo,
)
from multipliers.testing import FamilyConformance


class TestVenkatachalamKo(FamilyConformance):
    @pytest.fixture(params=[0, 3, 4, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return VenkatachalamKo(request.param)


class TestVenkatachalamKoOfMoreColumns(FamilyConformance):
    @pytest.fixture(
        params=[VenkatachalamKo(8), VenkatachalamKo(16), SignMagnitude(VenkatachalamKo(16))],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


def errors(equations, inputs: int) -> dict[int, int]:
    """Pattern -> sum + 2 carry - count, where it is not zero."""
    found = {}
    for pattern in range(1 << inputs):
        total, carry = equations(*(pattern >> k & 1 for k in range(inputs)))
        found[pattern] = total + 2 * carry - pattern.bit_count()
    return {pattern: error for pattern, error in found.items() if error}


def test_cell_errors_follow_from_the_equations() -> None:
    assert errors(lambda x, y: (x | y, x & y), 2) == HALF_ADDER_ERRORS
    assert errors(lambda x, y, z: ((x | y) ^ z, (x | y) & z), 3) == FULL_ADDER_ERRORS
    wrong = errors(lambda x, y, z, w: ((x ^ y) | (z ^ w) | (x & y & z & w), (x & y) | (z & w)), 4)
    assert wrong == COMPRESSOR_ERRORS
    assert len(wrong) == 5 and set(wrong.values()) == {-1}


@pytest.mark.parametrize(
    ("columns", "mae", "wce", "ep_percent"),
    # Ours, of the reconstructed tree, not published: a change of the schedule shows here.
    [(7, 29.946, 268, 59.08), (8, 80.754, 780, 70.10), (16, 1027.709, 9728, 82.22)],
)
def test_regression_figures(columns: int, mae: float, wce: int, ep_percent: float) -> None:
    statistics = generate(VenkatachalamKo(columns)).statistics()
    assert round(statistics.mae, 3) == mae
    assert statistics.wce == wce
    assert round(100 * statistics.ep, 2) == ep_percent


@pytest.mark.parametrize(
    ("columns", "published_percent", "tolerance"),
    # The abstract: mean relative errors of 7.6 % and 0.02 % (16 bits). The bits' order in the tree is ours.
    [(32, 7.6, 0.5), (15, 0.02, 0.005)],
)
def test_mean_relative_error_is_near_the_published_one_at_16_bits(
    columns: int, published_percent: float, tolerance: float
) -> None:
    a, b = np.random.default_rng(0).integers(1, 1 << 16, size=(2, 100_000))
    relative = np.abs(VenkatachalamKo(columns).product(a, b, 16, 16) - a * b) / (a * b)
    assert 100 * float(relative.mean()) == pytest.approx(published_percent, abs=tolerance)


def test_altering_alone_loses_nothing_where_one_generate_is_alone() -> None:
    """p + g = x + y: with 4 x 4 bits column 3 has generates a_3 b_0 a_0 b_3 and a_2 b_1 a_1 b_2, ORed to one."""
    family = VenkatachalamKo(4)
    # Only one of the generates is 1 and no cell meets a pattern it gets wrong: 9 x 9 = 64 + 8 + 8 + 1.
    assert int(family.product(np.array(9), np.array(9), 4, 4)) == 81
    # Both generates are 1: 15 x 15 loses at least one of them.
    assert int(family.product(np.array(15), np.array(15), 4, 4)) < 225


def test_zero_is_kept() -> None:
    """All cells give 0 for zeros."""
    table = generate(VenkatachalamKo(16)).table
    assert not table[0].any() and not table[:, 0].any()


def test_the_product_never_wraps_at_8_bits() -> None:
    a, b = np.arange(256)[:, None], np.arange(256)[None, :]
    for columns in range(17):
        product = VenkatachalamKo(columns).product(a, b, 8, 8)
        assert int((product - a * b).min()) > -(1 << 15)
        assert int(product[:129, :129].max()) < 1 << 15, "the sign-magnitude wrapper needs this"


def test_no_approximate_column_is_exact() -> None:
    assert generate(VenkatachalamKo(0)).is_exact


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_vk_c17", r"0\.\.16 columns"),
        ("mul8s_vk_c8", "its sign-magnitude form is called sm_"),
        ("mul8x1u_vk_c2", "widths >= 2, got 8 x 1"),
    ],
)
def test_refusals(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
