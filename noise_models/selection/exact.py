"""Exact multiple-choice knapsack, for budgets between the vertices of the convex front.

Dynamic programming over layers that keeps only states no other state equals or beats, and only those whose relaxed
completion (hull mixtures in the remaining layers) can still beat the best vertex of the convex front. The relaxation
is so tight that few states remain (Pisinger, "A minimal algorithm for the multiple-choice knapsack problem", 1995, has
the bound and the reduction; this is the plain version of it).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from noise_models.candidates import Candidate, Candidates
from noise_models.prediction import FloatArray
from noise_models.selection.front import Front, FrontPoint, infeasible
from noise_models.selection.hull import choosable, lower_hull, slopes
from noise_models.selection.knapsack import knapsack

_ROUNDING = 1e-12  # relative: sums in different order differ by less


def cheapest_exactly(candidates: Candidates, degradation: float) -> FrontPoint:
    """The cheapest of all choices that degrade by at most this much.

    Raises:
        ValueError: there is none; says the least degradation that is possible.
    """
    front = knapsack(candidates)
    if degradation < front.points[-1].degradation:
        raise infeasible("degradation", degradation, front.points[-1].degradation)
    rows = [_Row(name, row, "energy", "degradation") for name, row in choosable(candidates).items()]
    return _solve(rows, degradation, front.cheapest(degradation))


def best_exactly(candidates: Candidates, energy: float) -> FrontPoint:
    """The least degrading of all choices that need at most this energy.

    Raises:
        ValueError: there is none; says the least energy that is possible.
    """
    front = knapsack(candidates)
    if energy < front.points[0].energy:
        raise infeasible("energy", energy, front.points[0].energy)
    rows = [_Row(name, row, "degradation", "energy") for name, row in choosable(candidates).items()]
    return _solve(rows, energy, front.best(energy))


def refined(front: Front, candidates: Candidates, points: int) -> Front:
    """A front with exact points added at evenly spaced energies between its ends.

    Args:
        front: of these candidates, from `knapsack`.
        candidates: by layer name.
        points: how many energies to solve for.
    """
    budgets = np.linspace(front.points[0].energy, front.points[-1].energy, points + 2)[1:-1]
    between = [best_exactly(candidates, float(budget)) for budget in budgets]
    return Front.of(f"{front.method}, exact", [*front.points, *between])


class _Row:
    """Candidates of one layer, cheapest in the constraint first.

    Attributes:
        aim, within: names of what is minimised and what is constrained.
        objective, constraint: float64 [M].
    """

    def __init__(self, name: str, row: list[Candidate], objective: str, constraint: str) -> None:
        self.name, self.aim, self.within = name, objective, constraint
        self.candidates = sorted(row, key=lambda c: getattr(c, constraint))
        self.objective, self.constraint = (
            np.array([getattr(c, key) for c in self.candidates], dtype=np.float64) for key in (objective, constraint)
        )


@dataclass(frozen=True, eq=False)
class _Relaxed:
    """Least objective of some layers when mixtures are allowed: knots, constraint rising [T], objective falling [T]."""

    constraint: FloatArray
    objective: FloatArray

    def least(self, left: FloatArray) -> FloatArray:
        """Lower bound of the objective with that much of the constraint left; infinite where nothing fits."""
        slack = _ROUNDING * max(1.0, abs(float(self.constraint[0])))
        bound = np.interp(left, self.constraint, self.objective)
        return np.where(left >= self.constraint[0] - slack, bound, np.inf)


def _relax(rows: list[_Row]) -> _Relaxed:
    steps: list[tuple[float, float, float]] = []  # slope, rise of the constraint, fall of the objective
    first, last = 0.0, 0.0
    for row in rows:
        points = list(zip(row.constraint.tolist(), row.objective.tolist(), strict=True))
        hull = [points[i] for i in lower_hull(points)]
        first, last = first + hull[0][0], last + hull[-1][1]
        for slope, (low, high) in zip(slopes(hull), pairwise(hull), strict=True):
            steps.append((slope, high[0] - low[0], low[1] - high[1]))
    steps.sort(key=lambda step: -step[0])
    # each sum starts at its small end, so that a large far end leaves no rounding there
    constraint = np.array([first, *(rise for _, rise, _ in steps)]).cumsum()
    objective = np.array([last, *(fall for _, _, fall in reversed(steps))]).cumsum()[::-1].copy()
    return _Relaxed(constraint, objective)


def _solve(rows: list[_Row], budget: float, known: FrontPoint) -> FrontPoint:
    """Least objective with the constraint within the budget; `known` is a choice that is within."""
    room = budget + _ROUNDING * abs(budget)
    limit = getattr(known, rows[0].aim) + _ROUNDING * max(abs(getattr(known, rows[0].aim)), np.finfo(float).tiny)
    constraint, objective = np.zeros(1), np.zeros(1)
    trail: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for depth, row in enumerate(rows):
        spent = np.add.outer(constraint, row.constraint).ravel()
        reached = np.add.outer(objective, row.objective).ravel()
        rest = _relax(rows[depth + 1 :])
        alive = np.flatnonzero((spent <= room) & (reached + rest.least(room - spent) <= limit))
        alive = alive[_pareto(spent[alive], reached[alive])]
        trail.append((alive // len(row.candidates), alive % len(row.candidates)))
        constraint, objective = spent[alive], reached[alive]
    for state in np.argsort(objective):
        point = _point(rows, trail, int(state))
        if getattr(point, rows[0].within) <= budget:  # rounding lets others through
            return min(point, known, key=lambda p: getattr(p, rows[0].aim))
    return known


def _point(
    rows: list[_Row], trail: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]], state: int
) -> FrontPoint:
    chosen: dict[str, Candidate] = {}
    for row, (parents, picks) in zip(reversed(rows), reversed(trail), strict=True):
        chosen[row.name] = row.candidates[picks[state]]
        state = int(parents[state])
    return FrontPoint.of({row.name: chosen[row.name] for row in rows})


def _pareto(constraint: FloatArray, objective: FloatArray) -> npt.NDArray[np.int64]:
    """Indices of the states none other equals or beats in both."""
    order = np.lexsort((objective, constraint))
    best = np.minimum.accumulate(objective[order])
    first = np.ones(len(order), dtype=bool)
    first[1:] = best[1:] < best[:-1]
    return order[first]
