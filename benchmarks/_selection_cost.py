"""Rows of `benchmarks.selection` about time: the whole front, against searches that measure or train."""

import copy
from collections.abc import Iterator, Sequence
from itertools import islice

import torch

import approx
from benchmarks._report import Row, at_most, seconds
from benchmarks._selection_lab import BATCH, Laboratory, data
from benchmarks._selection_methods import agn_loader, agn_search
from benchmarks._selection_tables import JUDGED
from noise_models import knapsack
from noise_models.agn import PUBLISHED
from picojoule.data import Loader

GOAL = 60.0


def cost_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Of the first seed; nothing is taken from the store."""
    given = labs[0]
    lab = Laboratory(given.name, given.seed, given.plan, given.store)
    _ = lab.network, lab.library, data()  # calibrated before
    parts = {
        "trace": seconds(lambda: lab.traces),
        "sensitivity": seconds(lambda: lab.sensitivity),
        "candidates": seconds(lambda: lab.tuned_candidates),
        "front": seconds(lambda: knapsack(lab.tuned_candidates)),
    }
    whole = sum(parts.values())
    shares = ", ".join(f"{part} {value:.1f}" for part, value in parts.items())
    goal = GOAL if lab.name == JUDGED else None
    threads = f"threads: {torch.get_num_threads()}"
    yield at_most(
        f"{lab.name}: trace, sensitivity, candidates and the whole front, {threads}", whole, "s", goal, f"{shares} s"
    )
    evaluation, evaluations = _evaluation(lab), max(lab.plan.evaluations)
    yield Row(
        f"{lab.name}: NSGA-II, one evaluation that measures {lab.plan.timed_images} images bit-exactly, {threads}",
        evaluation,
        "s",
        peer=f"{evaluations} evaluations, extrapolated: {evaluation * evaluations / 3600:.2f} h, "
        f"{evaluation * evaluations / whole:.0f} times ours",
    )
    yield _published_search(lab, whole, threads)


def _evaluation(lab: Laboratory) -> float:
    """Seconds to assign and measure, without recovery: mean over points spread along the front."""
    front, count = knapsack(lab.tuned_candidates).points, lab.plan.timed_evaluations
    images = Loader(lab.validation.images.take(slice(lab.plan.timed_images)), BATCH)
    networks = [copy.deepcopy(lab.network) for _ in range(count)]

    def evaluate() -> None:
        for number, network in enumerate(networks):
            point = front[(2 * number + 1) * len(front) // (2 * count)]
            approx.accuracy(network.assign(point.assignment, lab.library), images)

    approx.accuracy(copy.deepcopy(lab.network).assign(front[0].assignment, lab.library), images)  # warm
    return seconds(evaluate) / count


def _published_search(lab: Laboratory, whole: float, threads: str) -> Row:
    search, loader, steps = agn_search(lab), agn_loader(lab), lab.plan.timed_steps
    search.run_epoch(islice(iter(loader), 1))  # warm
    step = seconds(lambda: search.run_epoch(islice(iter(loader), steps))) / steps
    schedule = PUBLISHED["resnet20"].search
    epoch = step * len(lab.training(None, loader.batch_size))
    return Row(
        f"{lab.name}: AGN, one epoch of the published search, {threads}, from {steps} steps",
        epoch,
        "s",
        peer=f"{schedule.epochs} epochs, extrapolated: {epoch * schedule.epochs / 3600:.2f} h, "
        f"{epoch * schedule.epochs / whole:.0f} times ours; that is one point of the trade-off",
    )
