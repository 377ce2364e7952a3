"""Every schedule passes the shipped suite."""

import pytest

from pruning import Entwined, Iterative, OneShot, Schedule, SoftToHard
from pruning.schedules.testing import ScheduleSuite


class TestOneShot(ScheduleSuite):
    @pytest.fixture
    def schedule(self) -> Schedule:
        return OneShot(final_epochs=2)


class TestIterative(ScheduleSuite):
    @pytest.fixture
    def schedule(self) -> Schedule:
        return Iterative(steps=2, epochs=1, final_epochs=2)


class TestEntwined(ScheduleSuite):
    @pytest.fixture
    def schedule(self) -> Schedule:
        return Entwined(share=0.5, epochs=1, final_epochs=1)


class TestSoftToHard(ScheduleSuite):
    @pytest.fixture
    def schedule(self) -> Schedule:
        return SoftToHard(epochs=3, final_epochs=1)
