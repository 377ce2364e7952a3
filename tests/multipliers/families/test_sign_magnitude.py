"""Sign-magnitude form of unsigned families."""

import numpy as np
import pytest

from multipliers import Family
from multipliers.families.broken_array import BrokenArray
from multipliers.families.drum import Drum
from multipliers.families.exact import Exact, ExactSigned
from multipliers.families.mitchell import Mitchell
from multipliers.families.registry import parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.truncated import TruncatedColumns
from multipliers.testing import FamilyConformance


class TestSignMagnitude(FamilyConformance):
    @pytest.fixture(
        params=[Exact(), TruncatedColumns(6), BrokenArray(2, 4), Drum(3), Drum(4), Mitchell()],
        ids=lambda core: core.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return SignMagnitude(request.param)


def test_worked_example() -> None:
    """The most negative operand has a magnitude of one bit more than the positive ones."""
    lowest = np.array(-128)
    assert int(SignMagnitude(Drum(3)).product(lowest, lowest, 8, 8)) == (0b101 << 5) ** 2


def test_needs_an_unsigned_core() -> None:
    with pytest.raises(ValueError, match="unsigned core"):
        SignMagnitude(ExactSigned())
    with pytest.raises(ValueError, match="no unsigned family"):
        parse_circuit("mul8s_sm_sm_exact")
