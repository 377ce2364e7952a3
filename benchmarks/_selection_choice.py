"""The one criterion by which a point of every method's front is chosen: its divergence on validation images.

The point taken is the cheapest whose divergence stands for a loss within the bound, found by halving along the front.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks._selection_exchange import accuracy_lost, divergence
from benchmarks._selection_lab import Laboratory
from benchmarks._selection_methods import EXACT, Method
from noise_models import FrontPoint


def judged(lab: Laboratory, method: Method, point: FrontPoint) -> float:
    """Validation loss, pp, that the divergence of a point's network stands for; not retrained."""
    if point is EXACT:
        return 0.0
    key = {**lab.key, "assignment": point.assignment.to_json(), "recovery": method.recovery}
    return accuracy_lost(lab, divergence(lab, key, partial(lab.prepared, point, method.recovery)))


def choose(lab: Laboratory, method: Method) -> FrontPoint:
    """The cheapest point within the bound on the judged loss, by halving along the front."""
    points = method.points(lab)
    broken, kept = -1, len(points) - 1  # the exact network loses nothing
    while kept - broken > 1:
        middle = (broken + kept) // 2
        if judged(lab, method, points[middle]) <= lab.plan.largest_loss:
            kept = middle
        else:
            broken = middle
    return points[kept]


def beside(lab: Laboratory, method: Method, chosen: FrontPoint) -> Iterator[FrontPoint]:
    """The chosen point between two of the front that save some energy more and less, where there are such."""
    points, distance = method.points(lab), lab.plan.read_off
    cheaper = [p for p in points if p.energy <= chosen.energy - distance]
    dearer = [p for p in points if p.energy >= chosen.energy + distance]
    yield from (*cheaper[-1:], chosen, *dearer[:1])
