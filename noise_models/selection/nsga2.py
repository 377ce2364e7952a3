"""NSGA-II over the same candidates: the evolutionary reference method (ALWANN, ICCAD 2019; MARLIN, TCAS-I 2024).

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002, as Optuna implements it: uniform
crossover, tournament of two, constrained domination. A gene is the position of a layer's candidate among the layer's
undominated ones, cheapest first. Optuna itself takes about 1 ms per evaluation of 20 layers up to 2000 evaluations and,
as it looks at all earlier ones, about 4 ms each for 10,000; a measured evaluation takes seconds.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from approx import Assignment
from noise_models.candidates import Candidate, Candidates
from noise_models.progress import Progress
from noise_models.selection.constrained import best_within
from noise_models.selection.front import Front, FrontPoint
from noise_models.selection.limits import Limits, quantities

Evaluate = Callable[[Assignment], float]
Look = Callable[[Mapping[str, int]], tuple[FrontPoint, dict[str, float]]]


@dataclass(frozen=True)
class Evolution:
    """How long to search.

    Attributes:
        evaluations: choices looked at in all, >= 1.
        population: choices in a generation, >= 2.
        seed: of all random numbers.
    """

    evaluations: int = 2000
    population: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.evaluations < 1 or self.population < 2:
            raise ValueError(
                f"NSGA-II needs evaluations >= 1 and a population >= 2, got {self.evaluations} and {self.population}"
            )


def nsga2(
    candidates: Candidates,
    limits: Limits | None = None,
    evolution: Evolution | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
) -> Front:
    """The best of all choices looked at.

    Args:
        candidates: by layer name.
        limits: what the points keep.
        evolution: how long to search.
        evaluate: measured degradation of an assignment, finite; absent: the candidates' own, summed up.
        progress: called with (evaluations done, of how many, "nsga2").

    Raises:
        ValueError: nothing keeps the limits, or nothing that was looked at does; says which, and the nearest feasible
            limits.
    """
    limits, evolution = limits or Limits(), evolution or Evolution()
    best_within(candidates, limits if evaluate is None else replace(limits, degradation=None))  # or nothing keeps them
    rows, area = limits.rows(candidates), limits.known_areas(candidates)
    points: list[FrontPoint] = []

    def look(position: Mapping[str, int]) -> tuple[FrontPoint, dict[str, float]]:
        point = _point({name: row[position[name]] for name, row in rows.items()}, evaluate)
        points.append(point)
        if progress is not None:
            progress(len(points), evolution.evaluations, "nsga2")
        reached = quantities(point, area)
        # relative to the bound, so that excesses in different units add up
        return point, {name: (reached[name] - bound) / (bound or 1.0) for name, bound in limits.bounds.items()}

    _evolve(evolution, {name: len(row) for name, row in rows.items()}, look)
    looked_at = Front("nsga2", tuple(points))
    return limits.within(looked_at, candidates)


def _evolve(evolution: Evolution, genes: Mapping[str, int], look: Look) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.NSGAIISampler(population_size=evolution.population, seed=evolution.seed)
        study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
        distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.IntDistribution(0, count - 1) for name, count in genes.items()
        }
        for _ in range(evolution.evaluations):
            trial = study.ask(distributions)
            point, excesses = look(trial.params)
            for name, excess in excesses.items():
                trial.set_constraint(name, excess)
            study.tell(trial, (point.energy, point.degradation))
    finally:
        optuna.logging.set_verbosity(before)


def _point(chosen: Mapping[str, Candidate], evaluate: Evaluate | None) -> FrontPoint:
    point = FrontPoint.of(chosen)
    if evaluate is None:
        return point
    measured = float(evaluate(point.assignment))
    if not math.isfinite(measured):
        raise ValueError(f"NSGA-II: the measured degradation must be finite, got {measured} for {point.assignment}")
    return replace(point, degradation=measured)
