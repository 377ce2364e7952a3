"""Selection methods under comparison.

All see the same candidates (the published greedy matching: its own error model) and the same validation images.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from safetensors.torch import load_file, save_file

from approx import Assignment
from benchmarks._selection_lab import CORRECT, TUNE, Laboratory
from noise_models import (
    AgnSearch,
    Evolution,
    FisherDegradation,
    Front,
    FrontPoint,
    Tolerance,
    ToleranceDegradation,
    error_model,
    greedy,
    knapsack,
    learn_tolerance,
    list_candidates,
    nsga2,
    uniform,
    with_channel_choices,
)
from noise_models.candidates import Candidates
from picojoule.data import Loader
from picojoule.files import Json, atomic_path

GREEDY_SCALES = tuple(2.0 ** (step / 8) for step in range(-40, 25))
PUBLISHED_BATCH = 128
EXACT = FrontPoint(1.0, 0.0, Assignment())
"""Closes every front."""


@dataclass(frozen=True)
class Method:
    """A way to select, and how the network recovers.

    Attributes:
        selection: name.
        front: of a laboratory.
        recovery: TUNE or CORRECT.
        settings: what else the front depends on.
        note: for the tables.
    """

    selection: str
    front: Callable[[Laboratory], Front]
    recovery: str
    settings: Json = None
    note: str = ""

    @property
    def name(self) -> str:
        """With the recovery."""
        return f"{self.selection}, {'tuned' if self.recovery == TUNE else 'corrected'}"

    def points(self, lab: Laboratory) -> list[FrontPoint]:
        """The front, cheapest first, without points that hardly differ in energy; the exact network last."""
        key = {**lab.key, "method": self.name, "settings": self.settings}
        front = Front.from_json(lab.store.value("fronts", key, lambda: self.front(lab).to_json()))
        kept: list[FrontPoint] = []
        for point in front:
            if not kept or point.energy - kept[-1].energy >= lab.plan.resolution:
                kept.append(point)
        return [*kept, EXACT]


def methods(lab: Laboratory) -> dict[str, Method]:
    """Of the plan of a laboratory, by name."""
    search = lab.plan.agn
    agn = {**asdict(search), "images": lab.plan.agn_images}
    note = f"tolerance learnt by AGN in {search.epochs} epochs at {search.learning_rate:g} (published: 30 at 0.1)"
    found = [
        OURS,
        OURS_CORRECTED,
        TWO,
        *(Method("published greedy", _published, recovery, agn, note) for recovery in (TUNE, CORRECT)),
        *(Method(f"NSGA-II, {n} evaluations", partial(_evolved, n), TUNE) for n in lab.plan.evaluations),
        UNIFORM,
        UNIFORM_CORRECTED,
    ]
    return {method.name: method for method in found}


def at_level(points: list[FrontPoint], saved: float) -> FrontPoint:
    """The dearest point that saves at least so much; the cheapest where none does."""
    return next((p for p in reversed(points) if p.energy <= 1 - saved), points[0])


def level_points(lab: Laboratory) -> list[FrontPoint]:
    """Of our front, at the levels of the plan."""
    points = ours(lab).points(lab)
    return [at_level(points, level) for level in lab.plan.levels]


def _per_channel(lab: Laboratory) -> Front:
    return knapsack(with_channel_choices(lab.tuned_candidates, FisherDegradation(lab.sensitivity), circuits=2))


def _evolved(evaluations: int, lab: Laboratory) -> Front:
    return nsga2(lab.tuned_candidates, evolution=Evolution(evaluations, seed=lab.seed))


def _published(lab: Laboratory) -> Front:
    tolerance = agn_tolerance(lab)
    return greedy(_published_candidates(lab, tolerance), tolerance, GREEDY_SCALES)


def _published_candidates(lab: Laboratory, tolerance: Tolerance) -> Candidates:
    judge = ToleranceDegradation(tolerance, corrected=False)
    return list_candidates(lab.traces, lab.library, error_model("published"), judge)


def agn_tolerance(lab: Laboratory) -> Tolerance:
    """Learnt by the search of the plan, going on from its last epoch."""
    settings = replace(lab.plan.agn, seed=lab.seed)
    key = {**lab.key, "agn": asdict(settings), "images": lab.plan.agn_images}
    path = lab.store.path("agn", key, ".safetensors")

    def save(state: dict[str, torch.Tensor]) -> None:
        with atomic_path(path) as temporary:
            save_file(state, temporary)
        lab.say(f"AGN, epoch {len(state['history'])} of {settings.epochs}")

    def learn() -> Json:
        state = load_file(path) if path.is_file() else None
        loader = agn_loader(lab)
        loader.set_epoch(0 if state is None else len(state["history"]))
        return learn_tolerance(lab.model, loader, lab.traces, settings, state=state, save=save).tolerance.to_json()

    return Tolerance.from_json(lab.store.value("agn", key, learn))


def agn_loader(lab: Laboratory) -> Loader:
    """Training batches of the search, of the published size."""
    return lab.training(lab.plan.agn_images, PUBLISHED_BATCH)


def agn_search(lab: Laboratory) -> AgnSearch:
    """One that has not begun."""
    return AgnSearch(lab.model, lab.traces, replace(lab.plan.agn, seed=lab.seed))


OURS = Method("knapsack", lambda lab: knapsack(lab.tuned_candidates), TUNE)
OURS_CORRECTED = Method("knapsack", lambda lab: knapsack(lab.corrected_candidates), CORRECT)
TWO = Method("knapsack, two circuits in a layer", _per_channel, TUNE)
UNIFORM = Method("uniform", lambda lab: uniform(lab.tuned_candidates), TUNE)
UNIFORM_CORRECTED = Method("uniform", lambda lab: uniform(lab.corrected_candidates), CORRECT)


def ours(lab: Laboratory) -> Method:
    """The knapsack, with the recovery that the plan gives this network."""
    return OURS if lab.recovery == TUNE else OURS_CORRECTED


def uniform_method(lab: Laboratory) -> Method:
    """The same circuit everywhere, likewise."""
    return UNIFORM if lab.recovery == TUNE else UNIFORM_CORRECTED
