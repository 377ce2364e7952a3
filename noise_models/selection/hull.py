"""Lower convex hulls of candidates: what the relaxed knapsack (mixtures of candidates allowed) chooses from."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from noise_models.candidates import Candidate, Candidates, undominated


def choosable(candidates: Candidates) -> dict[str, list[Candidate]]:
    """The undominated candidates of each layer with finite degradation, cheapest first.

    Raises:
        ValueError: there are no layers, or one has no such candidate.
    """
    if not candidates:
        raise ValueError("there are no layers to choose for")
    kept = {name: undominated([c for c in row if c.degradation < float("inf")]) for name, row in candidates.items()}
    empty = [name for name, row in kept.items() if not row]
    if empty:
        raise ValueError(f"layers {empty} have no candidate of finite degradation; add an exact circuit to the library")
    return kept


def lower_hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the lower convex hull of points (a, b) with rising a and falling b, straight runs left out."""
    hull: list[int] = []
    for i, point in enumerate(points):
        while len(hull) >= 2 and _above(points[hull[-2]], points[hull[-1]], point):
            hull.pop()
        hull.append(i)
    return hull


def slopes(points: Sequence[tuple[float, float]]) -> list[float]:
    """Fall of b per rise of a along a hull; it never grows from step to step, rounding or not."""
    steps = ((low[1] - high[1]) / (high[0] - low[0]) for low, high in pairwise(points))
    return list(accumulate(steps, min))


def _above(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle lies on or above the line from left to right."""
    rise = (middle[0] - left[0]) * (right[1] - left[1])
    return (middle[1] - left[1]) * (right[0] - left[0]) >= rise
