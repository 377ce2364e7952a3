"""DRUM: conformance, published errors, worked examples."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.drum import Drum
from multipliers.families.exact import Exact
from multipliers.families.registry import parse_circuit
from multipliers.testing import FamilyConformance


class TestDrum(FamilyConformance):
    @pytest.fixture(params=[3, 4, 5, 6, 7, 8])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return Drum(request.param)


@pytest.mark.parametrize(("bits", "mre_percent"), [(3, 11.90), (4, 5.89), (5, 2.94), (6, 1.47)])
def test_published_errors_at_16_bits(bits: int, mre_percent: float) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.integers(1, 1 << 16, size=(2, 400_000))
    exact = a * b
    relative = np.abs(Drum(bits).product(a, b, 16, 16) - exact) / exact
    assert 100 * relative.mean() == pytest.approx(mre_percent, abs=0.03)
    assert relative.max() <= (1 + 2.0 ** (1 - bits)) ** 2 - 1


def test_worked_examples() -> None:
    a, b = np.array([0b10110101, 0b11000000]), np.array([6, 1])
    # 0b10110101 keeps 101|1xxxx -> 0b101 << 5; 6 is below 2^3 and stays. 0b11000000 keeps 110, its lowest bit set.
    assert Drum(3).product(a, b, 8, 8).tolist() == [(0b101 << 5) * 6, 0b111 << 5]


def test_full_segments_are_the_exact_multiplier() -> None:
    assert generate(Drum(8)).energy_relative == pytest.approx(1.0)
    assert Drum(8).netlist().gate_counts() == Exact().netlist().gate_counts()


@pytest.mark.parametrize("name", ["mul8u_drum2", "mul8u_drum9"])
def test_impossible_segments_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"3\.\.8 bits"):
        parse_circuit(name)
