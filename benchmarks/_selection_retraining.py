"""Rows of `benchmarks.selection` with bit-exact retraining, of our points and of uniform circuits alike.

Points are chosen on the validation loss that their divergence stands for, see `benchmarks._selection_exchange`.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

import approx
from approx import QuantisedNetwork, Trainer
from benchmarks._report import Row, at_least, at_most
from benchmarks._selection_choice import choose
from benchmarks._selection_exchange import accuracy_lost, divergence
from benchmarks._selection_lab import CORRECT, Laboratory
from benchmarks._selection_methods import EXACT, TWO, at_level, ours, uniform_method
from benchmarks._selection_plan import Retraining
from benchmarks._selection_tables import crossing, spread
from benchmarks._training import CHECKPOINT_SECONDS, Watch, finish
from noise_models import FrontPoint
from picojoule.files import Json

GOAL_SAVED, GOAL_LOSS, SMALL_LOSS = 90.0, 1.0, 0.3
PUBLISHED = "aim: 94 %; published: 70-79 % across ResNets; prototype: 89.6 % after 125 steps"


@dataclass(frozen=True)
class Retrained:
    """A point and its losses against the exact network, pp.

    Attributes:
        point: of a front.
        before: validation loss without training.
        validation, test: after training.
        judged: validation loss that the divergence after training stands for; chooses.
    """

    point: FrontPoint
    before: float
    validation: float
    test: float
    judged: float

    @property
    def saved(self) -> float:
        """Multiplication energy, %."""
        return 100 * (1 - self.point.energy)


Done = Sequence[Sequence[Retrained]]
"""By seed."""

NOT_CHANGED = Retrained(EXACT, 0.0, 0.0, 0.0, 0.0)


def retraining_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Every point retrained, and the cheapest ones of each method within bounds on validation loss."""
    exact = [100 * lab.exact(test=True) for lab in labs]
    beside = f"what losses are against; seeds: {spread(exact, '%')}"
    yield Row(f"{labs[0].name}, exact 8-bit network: test top-1", statistics.mean(exact), "%", peer=beside)
    for method, (points, order) in METHODS.items():
        recovered = "corrected" if labs[0].recovery == CORRECT else "tuned"
        words = labs[0].plan.retraining[labs[0].name].words
        name = f"{labs[0].name}, {method}, {recovered} and retrained for {words}"
        done = [[retrained(lab, point) for point in points(lab)] for lab in labs]
        if not any(done):
            continue
        for same in order(done):
            yield _point_row(name, same)
        for bound in (labs[0].plan.largest_loss, SMALL_LOSS):
            yield from _chosen_rows(name, done, bound, goals=method == "knapsack" and bound != SMALL_LOSS)
        for loss in (GOAL_LOSS, SMALL_LOSS):
            yield _read_off_row(name, done, loss)


def our_points(lab: Laboratory) -> list[FrontPoint]:
    """Of our front, at the levels of the plan."""
    points = ours(lab).points(lab)
    return [at_level(points, level) for level in lab.plan.retraining[lab.name].levels]


def channel_points(lab: Laboratory) -> list[FrontPoint]:
    """Of our front with two circuits in a layer, at the levels of the plan."""
    levels = lab.plan.retraining[lab.name].channel_levels
    return [at_level(TWO.points(lab), level) for level in levels]


def uniform_points(lab: Laboratory) -> list[FrontPoint]:
    """The uniform circuit chosen without retraining, the next cheaper one, and the one nearest a level of ours."""
    points, chosen = uniform_method(lab).points(lab), choose(lab, uniform_method(lab))
    here = next(i for i, p in enumerate(points) if p.energy == chosen.energy)
    wanted = 1 - lab.plan.retraining[lab.name].uniform_level
    wished = [chosen, points[max(here - 1, 0)], min(points, key=lambda p: abs(p.energy - wanted))]
    return list({p.energy: p for p in wished}.values())


def by_level(done: Done) -> list[list[Retrained]]:
    """Of each seed one: the points for the same level of the plan."""
    return [list(same) for same in zip(*done, strict=True)]


def by_circuit(done: Done) -> list[list[Retrained]]:
    """Of the same uniform circuit, of those seeds that retrained it, by their energy saved."""
    found: dict[float, list[Retrained]] = {}
    for one in sorted((r for row in done for r in row), key=lambda r: r.saved):
        found.setdefault(one.saved, []).append(one)
    return list(found.values())


METHODS = {
    "knapsack": (our_points, by_level),
    TWO.selection: (channel_points, by_level),
    "uniform": (uniform_points, by_circuit),
}
"""Which points, and which of them belong together."""


def retrained(lab: Laboratory, point: FrontPoint) -> Retrained:
    """The measurement, stored."""
    if point is EXACT:
        return NOT_CHANGED
    settings = lab.plan.retraining[lab.name]
    how = {**asdict(settings), "levels": None, "uniform_level": None}  # which points there are changes none of them
    del how["channel_levels"], how["tunes"]
    if lab.recovery == CORRECT:
        how["recovery"] = CORRECT
    key = {**lab.key, "assignment": point.assignment.to_json(), "retraining": how}

    def network() -> QuantisedNetwork:
        folder, start = lab.store.path("training", key), lab.prepared(point, lab.recovery)
        return lab.store.network(key, start, lambda network: train(lab, network, settings, folder))

    def measure() -> Json:
        done = network()
        reached = [approx.accuracy(done, images) for images in (lab.validation, lab.test)]
        return [100 * (lab.exact(test) - top1) for test, top1 in zip((False, True), reached, strict=True)]

    validation, test = lab.store.value("retrained", key, measure)
    judged = accuracy_lost(lab, divergence(lab, key, network))
    return Retrained(point, lab.loss(point, lab.recovery), validation, test, judged)


def train(
    lab: Laboratory,
    network: QuantisedNetwork,
    settings: Retraining,
    folder: Path,
    watch: Watch | None = None,
    every: float = CHECKPOINT_SECONDS,
) -> None:
    """Trains in place, from the checkpoint in a folder on.

    Args:
        lab: its model teaches; its seed orders the images.
        network: with its circuits.
        settings: how.
        folder: of the checkpoint.
        watch: called with the steps done after each, before they are saved.
        every: seconds between checkpoints within an epoch.
    """
    network.use_gradient(settings.gradient)
    trainer = Trainer(network, replace(settings.recipe, seed=lab.seed), lab.model, _score(lab, settings.score))
    loader = lab.training(settings.images, settings.batch_size, settings.magnitude)
    finish(trainer, loader, folder, lab.say, watch, every)


def _score(lab: Laboratory, name: str) -> Callable[[nn.Module], float]:
    """What chooses the weights that are kept; higher is better."""
    if name == "accuracy":
        return lambda network: approx.accuracy(network, lab.validation)
    return lambda network: -lab.divergence(network)


def _point_row(name: str, same: Sequence[Retrained]) -> Row:
    losses = [r.test for r in same]
    saved = [r.saved for r in same]
    beside = f"validation loss before {spread([r.before for r in same], 'pp')}, "
    beside += f"after {spread([r.validation for r in same], 'pp')}, by divergence "
    beside += f"{spread([r.judged for r in same], 'pp')}; saved {spread(saved, '%')}"
    case = f"{name}, {statistics.mean(saved):.1f} % saved: test top-1 lost"
    return Row(case, statistics.mean(losses), "pp", peer=f"seeds: {spread(losses, 'pp')}; {beside}")


def _read_off_row(name: str, done: Done, loss: float) -> Row:
    saved = [crossing([(r.saved, r.test) for r in row], loss) for row in done]
    return Row(
        f"{name}, read off test accuracy at {loss:g} pp: multiplication energy saved",
        statistics.mean(saved),
        "%",
        peer=f"seeds: {spread(saved, '%')}; between points measured on test images",
    )


def cheapest(done: Sequence[Retrained], bound: float) -> Retrained:
    """The one that saves most with a judged loss within the bound; the exact network where none has."""
    return max((r for r in done if r.judged <= bound), key=lambda r: r.saved, default=NOT_CHANGED)


def _chosen_rows(name: str, done: Done, bound: float, goals: bool) -> Iterator[Row]:
    chosen = [cheapest(row, bound) for row in done]
    saved, losses = [r.saved for r in chosen], [r.test for r in chosen]
    case = f"{name}, validation loss by divergence <= {bound:g} pp"
    beside = f"seeds: {spread(saved, '%')}; test loss {spread(losses, 'pp')}"
    if goals:
        beside += f"; {PUBLISHED}"
    yield at_least(
        f"{case}: multiplication energy saved", statistics.mean(saved), "%", GOAL_SAVED if goals else None, beside
    )
    yield at_most(
        f"{case}: test top-1 lost",
        statistics.mean(losses),
        "pp",
        GOAL_LOSS if goals else None,
        f"seeds: {spread(losses, 'pp')}",
    )
