"""Mitchell's multiplier: conformance, check figures, published errors, worked examples."""

import numpy as np
import pytest

from multipliers import Family, generate
from multipliers.families.mitchell import Mitchell
from multipliers.testing import FamilyConformance


class TestMitchell(FamilyConformance):
    @pytest.fixture
    def family(self) -> Family:
        return Mitchell()


def test_check_figures() -> None:
    statistics = generate(Mitchell()).statistics()
    assert statistics.wce == 4096
    assert statistics.wcre == pytest.approx(1 / 9, rel=1e-12)
    assert round(100 * statistics.ep, 2) == 93.09
    assert round(100 * statistics.mre, 2) == 3.79


def test_published_errors_at_16_bits() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.integers(1, 1 << 16, size=(2, 400_000))
    relative = (a * b - Mitchell().product(a, b, 16, 16)) / (a * b)
    assert 100 * relative.mean() == pytest.approx(3.85, abs=0.02)
    assert relative.min() >= 0 and relative.max() <= 1 / 9


def test_worked_examples() -> None:
    a, b = np.array([3, 5, 0, 255]), np.array([3, 6, 255, 0])
    # 3 x 3: 2^(1+1) (1 + .5 + .5) has x + y = 1, so 2^3 * 1 = 8; 5 x 6 = 4 * 4 * (1 + .25 + .5) = 28.
    assert Mitchell().product(a, b, 8, 8).tolist() == [8, 28, 0, 0]
