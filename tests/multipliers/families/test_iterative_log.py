"""The iterative logarithmic multiplier: its netlist, its published errors, worked examples."""

import numpy as np
import pytest

from multipliers.families import Family, parse_circuit
from multipliers.families.iterative_log import IterativeLog
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.generator import generate
from multipliers.testing import FamilyConformance


class TestIterativeLog(FamilyConformance):
    @pytest.fixture(
        params=[IterativeLog(1), IterativeLog(2), IterativeLog(3), SignMagnitude(IterativeLog(2))],
        ids=lambda family: family.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return request.param


@pytest.mark.parametrize("widths", [(8, 4), (8, 2), (2, 8), (2, 2), (1, 5)])
def test_narrow_circuits_equal_the_definition(widths: tuple[int, int]) -> None:
    a, b = np.indices([1 << width for width in widths])
    for passes in range(1, min(widths) + 1):
        family = IterativeLog(passes)
        np.testing.assert_array_equal(family.netlist(*widths).product_table(), family.product(a, b, *widths))


@pytest.mark.parametrize(
    ("passes", "mean_percent", "most_percent"), [(1, 9.41, 25), (2, 0.99, 6.25), (3, 0.11, 1.5625)]
)
def test_published_errors_at_16_bits(passes: int, mean_percent: float, most_percent: float) -> None:
    a, b = np.random.default_rng(1).integers(1, 1 << 16, size=(2, 1_000_000))
    short = 100 * (a * b - IterativeLog(passes).product(a, b, 16, 16)) / (a * b)
    assert short.mean() == pytest.approx(mean_percent, abs=0.006)
    assert short.min() >= 0 and short.max() < most_percent
    # The worst case is all ones: the residues are a little less than 2^-n of the operands.
    worst = np.array((1 << 16) - 1)
    left_out = int(worst**2 - IterativeLog(passes).netlist(16).multiply(worst, worst))
    assert left_out == ((1 << (16 - passes)) - 1) ** 2
    assert 100 * left_out / int(worst) ** 2 == pytest.approx(most_percent, rel=1e-3)


def test_worked_examples() -> None:
    a, b = np.array([181, 181, 255, 128, 255]), np.array([101, 0, 1, 128, 255])
    # 181 = 128 + 53, 101 = 64 + 37: 128 * 64 + 53 * 64 + 37 * 128 = 16320; then 53 * 37 by 32 * 32 + 21 * 32 + 5 * 32.
    assert IterativeLog(1).product(a, b, 8, 8).tolist() == [16320, 0, 255, 16384, 255**2 - 127**2]
    assert IterativeLog(2).product(a, b, 8, 8).tolist() == [16320 + 1856, 0, 255, 16384, 255**2 - 63**2]
    assert IterativeLog(2).netlist().multiply(a, b).tolist() == [18176, 0, 255, 16384, 255**2 - 63**2]


def test_errors_shrink_with_every_pass_to_none() -> None:
    errors = [generate(IterativeLog(passes), 5, 4).statistics().mae for passes in range(1, 5)]
    assert errors == sorted(errors, reverse=True) and errors[-2] > 0 and errors[-1] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_ilm0", "1..8 passes for 8 x 8, got 0"),
        ("mul8u_ilm9", "1..8 passes"),
        ("mul8x2u_ilm3", "1..2 passes"),
    ],
)
def test_impossible_passes_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)
