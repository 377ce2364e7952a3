"""Lower convex hulls of candidates: what the relaxed knapsack (mixtures of candidates allowed) chooses from."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from noise_models.candidates import Candidate, Candidates, undominated


def choosable(candidates: Candidates, per_circuit: bool = False) -> dict[str, list[Candidate]]:
    """The undominated candidates of each layer with finite degradation, cheapest first.

    Args:
        candidates: by layer name.
        per_circuit: undominated among those of the same circuit only, for when it matters which circuits are used.

    Raises:
        ValueError: there are no layers, or one has no such candidate.
    """
    if not candidates:
        raise ValueError("there are no layers to choose for")
    finite = {name: [c for c in row if c.degradation < float("inf")] for name, row in candidates.items()}
    kept = {name: _undominated_per_circuit(r) if per_circuit else undominated(r) for name, r in finite.items()}
    empty = [name for name, row in kept.items() if not row]
    if empty:
        raise ValueError(f"layers {empty} have no candidate of finite degradation; add an exact circuit to the library")
    return kept


def _undominated_per_circuit(row: list[Candidate]) -> list[Candidate]:
    groups: dict[str, list[Candidate]] = {}
    for candidate in row:
        groups.setdefault(candidate.choice.multiplier, []).append(candidate)
    kept = [candidate for group in groups.values() for candidate in undominated(group)]
    return sorted(kept, key=lambda c: (c.energy, c.degradation))


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
