"""Every criterion passes the suite shipped in `pruning.testing`; one class, one fixture each."""

import pytest

from pruning import Magnitude, TaylorGate, TaylorWeight, criteria, criterion, register
from pruning.testing import CriterionSuite


class TestMagnitudeL2(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Magnitude()


class TestMagnitudeL1Filter(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Magnitude(p=1, scope="filter")


class TestTaylorExample(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorGate()


class TestTaylorBatch(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorGate(per="batch")


class TestTaylorWeight(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorWeight()


class TestTaylorWeightJoint(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return TaylorWeight(joint=True)


def test_registry():
    assert {"magnitude", "taylor", "taylor-weight"} <= set(criteria()) and criteria() == sorted(criteria())
    names = {"causal", "effective-filters", "i-spasp", "nisp", "pfp", "singe", "sosp-h", "sosp-i"}
    assert names <= set(criteria())
    assert criterion("magnitude", p=1).p == 1
    with pytest.raises(ValueError, match="expected one of .*magnitude, .*taylor, .*, got 'magic'"):
        criterion("magic")
    assert register(Magnitude) is Magnitude
    with pytest.raises(ValueError, match="already Magnitude"):
        register(type("Other", (Magnitude,), {}))


@pytest.mark.parametrize(
    "make",
    [lambda: Magnitude(p=3), lambda: Magnitude(scope="x"), lambda: TaylorGate(per="epoch")],
)
def test_bad_options(make):
    with pytest.raises(ValueError, match="expected"):
        make()
