"""Which points of the front are measured bit-exactly, and which one is taken: the cheapest within the budget."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch

from approx import QuantisedNetwork, Reference, accuracy, correct, tune
from noise_models import Front, FrontPoint
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.savings import multiplication_saved
from picojoule.progress import progress

NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Measured:
    """A point of the front, measured on validation images before any retraining.

    Attributes:
        point: of the front.
        network: with its circuits, tuned or corrected.
        accuracy: share of validation images.
        saved: share of multiplication energy.
    """

    point: FrontPoint
    network: QuantisedNetwork
    accuracy: float
    saved: float

    def to_json(self) -> dict[str, Json]:
        """For the stage's values."""
        return {
            "energy": self.point.energy,
            "degradation": self.point.degradation,
            "accuracy": self.accuracy,
            "saved": self.saved,
        }


class Search:
    """Measures points of a front on validation images, tuned or corrected, not retrained, and chooses among them.

    Attributes:
        exact: accuracy of the exact 8-bit network on the same images.
    """

    def __init__(self, lab: Lab, network: QuantisedNetwork, exact: QuantisedNetwork, macs: Mapping[str, int]) -> None:
        """Measures the exact network.

        Args:
            lab: the run's.
            network: to be given circuits.
            exact: what losses are against, and what circuits are tuned to.
            macs: multiplications per image by layer.
        """
        self.lab, self.network, self.macs, self.config = lab, network, macs, lab.config.select
        count = min(self.config.candidate_images or len(lab.splits.validation), len(lab.splits.validation))
        images = lab.splits.validation.take(slice(count))
        self.validation = Loader(images, lab.config.data.evaluation_batch_size)
        self.images = torch.cat(lab.batches(lab.config.data.calibration_images))
        self.reference = Reference.of(exact, self.images)
        self.exact = accuracy(exact, self.validation)
        self.found: dict[int, Measured] = {}

    def run(self, front: Front) -> list[Measured]:
        """Measures up to `candidates` points: towards the budget first, then where the picture is emptiest.

        Where none of them keeps a budget of accuracy, the dearest point is measured as well.
        """
        points = [p for p in front if p.degradation > NEGLIGIBLE] or list(front.points[-1:])
        allowance = min(self.config.candidates, len(points))
        with progress("measure", allowance) as step:
            for index in self._towards_budget(points):
                step(self._measure(points, index))
            while len(self.found) < allowance:
                step(self._measure(points, _widest_gap(points, sorted(self.found))))
            dearest, kept = len(points) - 1, any(map(self.keeps, self.found.values()))
            if self.config.budget[0] == "max_loss" and not kept and dearest not in self.found:
                step(self._measure(points, dearest))
        return [self.found[index] for index in sorted(self.found)]

    def _towards_budget(self, points: list[FrontPoint]) -> Iterator[int]:
        """Indices to measure: the one a predicted budget names, or halving towards a measured one."""
        name, bound = self.config.budget
        if name == "max_degradation":
            yield next((i for i, p in enumerate(points) if p.degradation <= bound), len(points) - 1)
        elif name == "energy":
            fitting = [i for i, p in enumerate(points) if self._energy(p) <= bound]
            yield fitting[-1] if fitting else 0
        else:
            low, high = -1, len(points) - 1  # the budget is broken at low and, as far as is known, kept at high
            while high - low > 1 and len(self.found) < -(-self.config.candidates // 2):
                middle = (low + high) // 2
                yield middle
                low, high = (low, middle) if self.keeps(self.found[middle]) else (middle, high)

    def _energy(self, point: FrontPoint) -> float:
        return 1.0 - multiplication_saved(point.assignment, self.macs, self.lab.library)

    def _measure(self, points: list[FrontPoint], index: int) -> str:
        point = points[index]
        candidate = copy.deepcopy(self.network).assign(point.assignment, self.lab.library)
        fit_to(self.reference, candidate, self.images, self.config.tune)
        top1 = accuracy(candidate, self.validation)
        self.found[index] = Measured(point, candidate, top1, 1.0 - self._energy(point))
        return f"{100 * top1:.2f} % at {100 * self.found[index].saved:.1f} % saved"

    def keeps(self, measured: Measured) -> bool:
        """Whether a point is within the budget."""
        name, bound = self.config.budget
        if name == "max_loss":
            return 100 * (self.exact - measured.accuracy) <= bound
        return (measured.point.degradation if name == "max_degradation" else 1.0 - measured.saved) <= bound

    def choose(self, measured: list[Measured]) -> Measured:
        """The cheapest measured point within the budget (the most accurate one for an energy budget).

        Raises:
            ValueError: none is; says what the closest is.
        """
        fitting = [m for m in measured if self.keeps(m)]
        name, bound = self.config.budget
        if not fitting:
            closest = measured[0] if name == "energy" else max(measured, key=lambda m: m.accuracy)
            raise ValueError(
                f"no measured point of the front keeps {name} {bound:g}; the closest loses "
                f"{100 * (self.exact - closest.accuracy):.2f} pp, saves {100 * closest.saved:.1f} % of the "
                f"multiplication energy and degrades by {closest.point.degradation:.3g}; allow that, or add circuits"
            )
        if name == "energy":
            return max(fitting, key=lambda m: m.accuracy)
        return min(fitting, key=lambda m: m.point.energy)


def fit_to(reference: Reference, network: QuantisedNetwork, images: torch.Tensor, with_weights: bool) -> None:
    """Bring a network with circuits back to the exact one: weights, gains and biases, or these two alone."""
    if with_weights:
        tune(network, images, reference)
    else:
        correct(network, images, reference.moments)


def _widest_gap(points: list[FrontPoint], known: list[int]) -> int:
    """The point nearest the middle of the widest gap in energy, the dearest point counted as known."""
    ends = sorted({*known, len(points) - 1})
    gaps = [(points[b].energy - points[a].energy, a, b) for a, b in pairwise(ends) if b - a > 1]
    if not gaps:
        return next(index for index in reversed(range(len(points))) if index not in known)
    _, a, b = max(gaps)
    middle = (points[a].energy + points[b].energy) / 2
    return min(range(a + 1, b), key=lambda index: abs(points[index].energy - middle))
