"""Every way to select by its name in a configuration, behind one signature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from noise_models.candidates import Candidates
from noise_models.progress import Progress
from noise_models.selection.constrained import constrained_front
from noise_models.selection.front import Front
from noise_models.selection.greedy import greedy
from noise_models.selection.knapsack import knapsack
from noise_models.selection.limits import Limits
from noise_models.selection.nsga2 import Evolution, nsga2
from noise_models.selection.uniform import uniform
from noise_models.tolerance import Tolerance

GREEDY_SCALES = tuple(2.0 ** (k / 2) for k in range(-8, 9))


@dataclass(frozen=True, eq=False)
class Selection:
    """What there is to select from, and how.

    Attributes:
        candidates: by layer name, dominated ones included.
        limits: what every point keeps.
        tolerance: what each layer bears; only the published greedy matching needs it.
        evolution: budget and seed of NSGA-II.
        progress: of methods that take long.
    """

    candidates: Candidates
    limits: Limits = field(default_factory=Limits)
    tolerance: Tolerance | None = None
    evolution: Evolution = field(default_factory=Evolution)
    progress: Progress | None = None

    @property
    def pinned(self) -> Candidates:
        """The candidates that the pins leave, dominated ones included."""
        return self.limits.pinned(self.candidates)


def _knapsack(given: Selection) -> Front:
    return constrained_front(given.candidates, given.limits) if given.limits.bounds else knapsack(given.pinned)


def _greedy(given: Selection) -> Front:
    if given.tolerance is None:
        raise ValueError("the greedy matching needs a tolerance of each layer")
    return given.limits.within(greedy(given.pinned, given.tolerance, GREEDY_SCALES), given.candidates)


def _uniform(given: Selection) -> Front:
    return given.limits.within(uniform(given.pinned), given.candidates)


def _nsga2(given: Selection) -> Front:
    return nsga2(given.candidates, given.limits, given.evolution, progress=given.progress)


SELECTORS: Mapping[str, Callable[[Selection], Front]] = {
    "knapsack": _knapsack,
    "greedy": _greedy,
    "uniform": _uniform,
    "nsga2": _nsga2,
}
