"""Multipliers of Momeni's compressors: the compressors' truth tables, conformance, regression figures."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.exact import Exact
from multipliers.families.momeni import CHAINED_ERRORS, ERRORS, Momeni
from multipliers.families.registry import parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.testing import FamilyConformance


class TestMomeniDesign1(FamilyConformance):
    @pytest.fixture(params=[0, 4, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return Momeni(1, request.param)


class TestMomeniDesign2(FamilyConformance):
    @pytest.fixture(params=[0, 4, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return Momeni(2, request.param)


class TestMomeniOfMoreColumns(FamilyConformance):
    @pytest.fixture(
        params=[
            Momeni(1, 8),
            Momeni(1, 16),
            Momeni(2, 8),
            Momeni(2, 16),
            SignMagnitude(Momeni(1, 16)),
            SignMagnitude(Momeni(2, 8)),
        ],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


def test_errors_of_design_2_follow_from_its_equations() -> None:
    wrong = {}
    for pattern in range(16):
        x1, x2, x3, x4 = (bool(pattern >> k & 1) for k in range(4))
        total = (x1 == x2) or (x3 == x4)
        carry = (x1 or x2) and (x3 or x4)
        if (error := total + 2 * carry - pattern.bit_count()) != 0:
            wrong[pattern] = error
    assert wrong == ERRORS == {0b0000: 1, 0b0011: -1, 0b1100: -1, 0b1111: -1}


def test_errors_of_design_1_follow_from_its_equations() -> None:
    wrong = {}
    for pattern in range(32):
        x1, x2, x3, x4, cin = (bool(pattern >> k & 1) for k in range(5))
        total = not cin and ((x1 == x2) or (x3 == x4))
        cout = (x1 or x2) and (x3 or x4)
        if (error := total + 2 * (cin + cout) - pattern.bit_count()) != 0:
            wrong[pattern] = error
    assert wrong == CHAINED_ERRORS
    assert len(wrong) == 12 and set(wrong.values()) == {1, -1}


@pytest.mark.parametrize(
    ("design", "columns", "mae", "wce", "ep_percent"),
    [
        # Ours, of the reconstructed tree, not published: a change of the schedule shows here.
        (1, 8, 117.180, 464, 95.20),
        (1, 16, 3554.225, 9576, 99.75),
        (2, 8, 106.313, 568, 92.84),
        (2, 16, 3208.633, 8184, 99.10),
    ],
)
def test_regression_figures(design: int, columns: int, mae: float, wce: int, ep_percent: float) -> None:
    statistics = generate(Momeni(design, columns)).statistics()
    assert round(statistics.mae, 3) == mae
    assert statistics.wce == wce
    assert round(100 * statistics.ep, 2) == ep_percent


@pytest.mark.parametrize("design", [1, 2])
def test_zero_times_zero_is_the_sum_of_what_idle_compressors_give(design: int) -> None:
    """Each compressor of four zeros gives a one, hence products of zero that are far from it."""
    product = int(Momeni(design, 16).product(np.array(0), np.array(0), 8, 8))
    assert product == int(generate(Momeni(design, 16)).table[0, 0]) > 0


@pytest.mark.parametrize("design", [1, 2])
def test_one_compressor_by_hand(design: int) -> None:
    """4x4 bits: column 2 takes a half adder, column 3 one compressor of its four terms, row 0 first."""
    a, b = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    pattern = sum(((a >> (3 - i)) & (b >> i) & 1) << i for i in range(4))
    expected = 8 * np.array([ERRORS.get(x, 0) for x in range(16)])[pattern]
    np.testing.assert_array_equal(generate(Momeni(design, 4), 4).error_map(), expected)


@pytest.mark.parametrize("design", [1, 2])
def test_the_product_never_wraps_at_8_bits(design: int) -> None:
    """A dropped carry would show as an error of about -2^16."""
    for columns in range(17):
        a, b = np.arange(256)[:, None], np.arange(256)[None, :]
        product = Momeni(design, columns).product(a, b, 8, 8)
        assert int((product - a * b).min()) > -(1 << 15)
        assert int(product[:129, :129].max()) < 1 << 15, "the sign-magnitude wrapper needs this"


@pytest.mark.parametrize("design", [1, 2])
def test_exact_compressors_alone_are_exact(design: int) -> None:
    assert generate(Momeni(design, 0)).is_exact
    assert Momeni(design, 0).netlist(8, 2).gates == Exact().netlist(8, 2).gates


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_momeni1_c17", r"0\.\.16 columns"),
        ("mul8u_momeni3_c8", "no unsigned family"),
        ("mul8s_momeni1_c8", "its sign-magnitude form is called sm_"),
        ("mul1x8u_momeni2_c4", "widths >= 2, got 1 x 8"),
    ],
)
def test_refusals(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)


def test_a_third_design_is_refused() -> None:
    with pytest.raises(ValueError, match="design 1 or 2, got 3"):
        Momeni(3, 8).netlist()
