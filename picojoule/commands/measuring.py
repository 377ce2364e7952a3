"""Accuracies of assignments, bit-exact, on validation images; repeated with other calibration images for error bars.

For each seed other training images calibrate the quantisers and tune the weights; circuits and validation images stay.
The scatter is what the choice of calibration images does to an accuracy, not the sampling error of the validation set.
Every accuracy is kept in the work folder, so that an interrupted measurement goes on, and a longer one begins where a
shorter one ended.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

import approx
from approx import Assignment, QuantisedNetwork, Reference
from noise_models import Front, FrontPoint
from picojoule.commands.workplace import Workplace
from picojoule.data import Loader
from picojoule.files import Json, canonical_json, hash_json
from picojoule.history import content_hash
from picojoule.pipeline.lab import SHARED_CODE
from picojoule.pipeline.savings import library_key
from picojoule.run_folder import RunFolder
from picojoule.stages import Stage, StageContext, run_stage

_CODE = (*SHARED_CODE, "multipliers", "picojoule.commands.measuring")


@dataclass(frozen=True)
class Accuracy:
    """One assignment, share of the validation images that are right.

    Attributes:
        by_seed: one for each choice of calibration images.
    """

    by_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.by_seed)

    @property
    def std(self) -> float | None:
        """Over seeds; None where there is one only."""
        return stdev(self.by_seed) if len(self.by_seed) > 1 else None


def worth_measuring(front: Front, count: int, band: tuple[float, float]) -> list[FrontPoint]:
    """At most so many points within a band of degradation, evenly over its orders of magnitude, cheapest first.

    The point nearest the band where none is within.
    """
    low, high = (math.log(bound) for bound in band)
    known = [(math.log(p.degradation) if p.degradation > 0 else -math.inf, p) for p in front]
    within = [(level, p) for level, p in known if low <= level <= high]
    if not within:
        return [min(known, key=lambda pair: max(low - pair[0], pair[0] - high))[1]]
    wanted = [high - (high - low) * k / max(1, count - 1) for k in range(count)]
    nearest = {min(range(len(within)), key=lambda i: abs(within[i][0] - level)) for level in wanted}
    return [within[i][1] for i in sorted(nearest)]


def spread(points: Sequence[FrontPoint], count: int) -> list[FrontPoint]:
    """At most so many of the points, cheapest first, evenly over their energies, both ends among them."""
    low, high = points[0].energy, points[-1].energy
    wanted = [low + (high - low) * k / max(1, count - 1) for k in range(count)]
    chosen = {min(range(len(points)), key=lambda i: abs(points[i].energy - energy)) for energy in wanted}
    return [points[i] for i in sorted(chosen)]


class Measurement:
    """Measures assignments of one network.

    Attributes:
        images: validation images it measures on.
    """

    def __init__(self, place: Workplace, run: RunFolder) -> None:
        """Args:
        place: network, images and circuits.
        run: where accuracies are kept.
        """
        config = place.config
        self.place, self.run = place, run
        self.images = min(config.select.candidate_images or len(place.splits.validation), len(place.splits.validation))
        self.validation = Loader(place.splits.validation.take(slice(self.images)), config.data.evaluation_batch_size)
        self.identity: dict[str, Json] = {
            "network": content_hash(place.network().state_dict()),
            "model": config.model.model_dump(mode="json", include={"name", "options"}),
            "images": place.splits.digest,
            "validation": self.images,
            "calibration": [config.data.calibration_images, config.data.evaluation_batch_size, config.data.split_seed],
            "tune": config.select.tune,
        }

    def run_all(self, assignments: Sequence[Assignment], seeds: int, report: Callable[[str], None]) -> list[Accuracy]:
        """The accuracy of each assignment.

        Args:
            assignments: circuits by layer; none for the exact network.
            seeds: choices of calibration images.
            report: called with a note after each measurement.
        """
        found: list[list[float]] = [[] for _ in assignments]
        for seed in range(seeds):
            exact = _Exact(self.place, seed)
            for assignment, accuracies in zip(assignments, found, strict=True):
                accuracies.append(self._one(assignment, seed, exact))
                report(f"{100 * accuracies[-1]:.2f} %, seed {seed}")
        return [Accuracy(tuple(accuracies)) for accuracies in found]

    def _one(self, assignment: Assignment, seed: int, exact: "_Exact") -> float:
        circuits = {name for choice in assignment.layers.values() for name in choice.circuits}
        used = {name: circuit for name, circuit in self.place.library.items() if name in circuits}
        what = {"assignment": assignment.to_json(), "circuits": library_key(used), "seed": seed, **self.identity}

        def action(context: StageContext) -> Mapping[str, Json]:
            return {"accuracy": approx.accuracy(exact.with_circuits(assignment), self.validation)}

        name = f"seed{seed}-{hash_json(what)[:12]}"
        accuracy: Json = run_stage(self.run, Stage(name, action, canonical_json(what), code=_CODE)).values["accuracy"]
        return float(accuracy)


class _Exact:
    """The network quantised on one choice of calibration images, made when it is first asked for."""

    def __init__(self, place: Workplace, seed: int) -> None:
        self.place, self.seed = place, seed
        self.made: tuple[QuantisedNetwork, torch.Tensor, Reference] | None = None

    def with_circuits(self, assignment: Assignment) -> QuantisedNetwork:
        """A copy with these circuits, tuned or corrected for them as [select] says."""
        network, images, reference = self.made = self.made or self._make()
        candidate = copy.deepcopy(network).assign(assignment, self.place.library)
        if self.place.config.select.tune:
            return approx.tune(candidate, images, reference)
        return approx.correct(candidate, images, reference.moments)

    def _make(self) -> tuple[QuantisedNetwork, torch.Tensor, Reference]:
        batches = self.place.batches(self.place.config.data.calibration_images, self.seed)
        network, images = approx.quantise(self.place.network(), batches), torch.cat(batches)
        return network, images, Reference.of(network, images)
