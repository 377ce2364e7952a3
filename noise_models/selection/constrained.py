"""Choices within `Limits`, each proven optimal: one for given budgets, or the whole front.

Where layers only share a budget, `knapsack` and `exact` solve the problem faster; these here also bound how many
circuits there are and their area. ResNet-20 with the 36 unsigned EvoApprox circuits takes 0.02 to 0.5 s per choice.
"""

from collections.abc import Mapping

import numpy as np

from noise_models.candidates import Candidate, Candidates
from noise_models.selection.circuit_programme import least
from noise_models.selection.exact import refined
from noise_models.selection.front import Front, FrontPoint
from noise_models.selection.knapsack import knapsack
from noise_models.selection.limits import Bounds, Limits, keeps, nearest_feasible, quantities

Rows = Mapping[str, list[Candidate]]


def cheapest_within(candidates: Candidates, limits: Limits) -> FrontPoint:
    """The choice with the least energy.

    Args:
        candidates: by layer name.
        limits: what it keeps; a degradation, most of the time.

    Raises:
        ValueError: nothing keeps the limits, says the nearest that something does; a pin names what does not exist; an
            area is needed and not known.
    """
    return _least(candidates, limits, "energy")


def best_within(candidates: Candidates, limits: Limits) -> FrontPoint:
    """The choice with the least degradation.

    Args:
        candidates: by layer name.
        limits: what it keeps; an energy, most of the time.

    Raises:
        ValueError: as `cheapest_within`.
    """
    return _least(candidates, limits, "degradation")


def constrained_front(candidates: Candidates, limits: Limits, points: int = 24) -> Front:
    """The front within limits.

    Without bounds on circuits or area that is the front of `knapsack`, refined. With them, the cheapest choice is found
    at degradations along that front, and with the circuits of each such choice the whole knapsack is solved. All points
    keep the limits; those at the degradations asked for are optimal, and no point of `knapsack` that keeps the limits
    beats the front.

    Args:
        candidates: by layer name.
        limits: what each point keeps.
        points: degradations to solve for, at even spaces of energy along the front without bounds.

    Raises:
        ValueError: as `cheapest_within`.
    """
    rows, area = limits.rows(candidates), limits.known_areas(candidates)
    free = knapsack(rows)
    cheapest, best = cheapest_within(candidates, limits), best_within(candidates, limits)
    found = [cheapest, best]
    if not limits.shared:
        found += refined(free, rows, points)
    else:
        found += free
        energies = np.linspace(free.points[0].energy, free.points[-1].energy, points)
        wanted = {min(max(free.best(e).degradation, best.degradation), cheapest.degradation) for e in energies.tolist()}
        for degradation in sorted(wanted):
            point = least(rows, area, "energy", {**limits.bounds, "degradation": degradation})
            if point is not None:  # None only where rounding separates a point from its own degradation
                found += [point, *knapsack(_only(rows, point))]
    kept = [p for p in found if keeps(p, limits.bounds, area)]
    return Front.of("knapsack within limits", kept)


def _least(candidates: Candidates, limits: Limits, quantity: str) -> FrontPoint:
    rows, area = limits.rows(candidates), limits.known_areas(candidates)

    def least_value(other: str, bounds: Bounds) -> float | None:
        point = least(rows, area, other, bounds)
        return None if point is None else quantities(point, area)[other]

    found = least(rows, area, quantity, limits.bounds)
    if found is None:
        raise nearest_feasible(limits.bounds, least_value)
    return found


def _only(rows: Rows, point: FrontPoint) -> Rows:
    """The candidates that need no other circuits than the point has."""
    there = {name for choice in point.assignment.layers.values() for name in choice.circuits}
    return {name: [c for c in row if there.issuperset(c.choice.circuits)] for name, row in rows.items()}
