"""The underdesigned multiplier: conformance, check figures, widths other than equal powers of two."""

import pytest

from multipliers import Family, generate
from multipliers.families.registry import parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.underdesigned import Underdesigned
from multipliers.testing import FamilyConformance


class TestUnderdesigned(FamilyConformance):
    @pytest.fixture(params=[Underdesigned(), SignMagnitude(Underdesigned())], ids=["unsigned", "signed"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


def test_check_figures() -> None:
    statistics = generate(Underdesigned()).statistics()
    assert statistics.wce == 14450
    assert statistics.wcre == pytest.approx(2 / 9, rel=1e-12)


@pytest.mark.parametrize(("width", "ep", "mre"), [(2, 6.25, 2.47), (4, 19.14, 2.97), (8, 46.73, 3.28)])
def test_published_errors(width: int, ep: float, mre: float) -> None:
    statistics = generate(Underdesigned(), width).statistics()
    assert round(100 * statistics.ep, 2) == ep
    assert round(100 * statistics.mre, 2) == mre


@pytest.mark.parametrize("widths", [(8, 4), (8, 2), (4, 8), (6, 6), (7, 5), (3, 3), (2, 9)])
def test_errs_only_where_blocks_of_three_meet(widths: tuple[int, int]) -> None:
    statistics = generate(Underdesigned(), *widths).statistics()
    blocks = sum(1 << (2 * i + 2 * j + 1) for i in range(widths[0] // 2) for j in range(widths[1] // 2))
    assert statistics.wce == blocks
    assert statistics.bias == -blocks / 16 == -statistics.mae
    assert statistics.wcre == pytest.approx(2 / 9)


def test_an_odd_bit_is_exact() -> None:
    """The block of a single bit is padded with a zero and never 3."""
    error = generate(Underdesigned(), 3, 2).error_map()
    assert error[7, 3] == error[3, 3] == -2 and error[4, 3] == error[5, 3] == 0


def test_refuses_one_bit() -> None:
    with pytest.raises(ValueError, match="widths >= 2, got 1 x 8"):
        parse_circuit("mul1x8u_udm")
