"""Which points of a front are measured: each once, and how many."""

from types import SimpleNamespace

import pytest

from approx import Assignment, QuantisedNetwork
from noise_models import Front, FrontPoint
from picojoule.pipeline.search import Measured, Search


class _Fake(Search):
    """Points [P] have accuracies, cheapest first, instead of networks; an exact network is right in 90 %."""

    def __init__(self, accuracies: list[float], candidates: int) -> None:
        self.accuracies, self.exact = accuracies, 0.9
        self.config = SimpleNamespace(candidates=candidates, budget=("max_loss", 1.0))  # type: ignore[assignment]
        self.found, self.order = {}, list[int]()

    def _measure(self, points: list[FrontPoint], index: int) -> str:
        self.order.append(index)
        network = QuantisedNetwork.__new__(QuantisedNetwork)
        self.found[index] = Measured(points[index], network, self.accuracies[index], 0.0)
        return ""


@pytest.mark.parametrize("candidates", [1, 2, 3, 6, 99])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("good", [0, 1, 99])
def test_no_point_is_measured_twice(count: int, candidates: int, good: int) -> None:
    points = tuple(FrontPoint(i + 1.0, float(count - i), Assignment({})) for i in range(count))
    search = _Fake([0.9 if i >= count - good else 0.1 for i in range(count)], candidates)
    measured = search.run(Front("by hand", points))
    assert len(search.order) == len(set(search.order)) == len(measured)
    assert min(candidates, count) <= len(measured) <= min(candidates + 1, count)
    assert any(map(search.keeps, measured)) == (good > 0)
