"""Rows of `benchmarks.selection` without retraining: every method's chosen point, our front, savings at equal loss."""

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from benchmarks._report import Row, at_least, at_most
from benchmarks._selection_choice import beside, choose
from benchmarks._selection_lab import Laboratory
from benchmarks._selection_methods import OURS, Method, level_points, methods, ours

JUDGED = "resnet20"  # goals are for this network
GOAL_SAVED, GOAL_AHEAD, GOAL_LOSS = 84.0, 8.0, 1.0
STRETCH = "aim: 88 %; prototype: 83.8 % at 0.81 pp, read off the test images"
SAMPLING = 0.2  # pp, about the standard error of a difference between two such networks on 10,000 images


def spread(values: Sequence[float], unit: str) -> str:
    """The seeds' values and their standard deviation, to stand beside a mean."""
    deviation = f", std {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{' '.join(f'{v:.2f}' for v in values)} {unit}{deviation}"


def no_retraining_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """The cheapest point of every method within the bound on the judged loss, and what it loses on test images."""
    name, bound = labs[0].name, labs[0].plan.largest_loss
    saved: dict[str, list[float]] = {}
    yield from _baseline_rows(labs)
    for method in methods(labs[0]).values():
        chosen = [choose(lab, method) for lab in labs]
        saved[method.name] = [100 * (1 - point.energy) for point in chosen]
        losses = [lab.loss(p, method.recovery, test=True) for lab, p in zip(labs, chosen, strict=True)]
        case = f"{name}, {method.name}, validation loss by divergence <= {bound:g} pp"
        judged = method is OURS and name == JUDGED
        peer = f"{_seeds(saved[method.name], '%')}; test loss {spread(losses, 'pp')}"
        peer += f"; {STRETCH}" * judged + f"; {method.note}" * bool(method.note)
        yield at_least(
            f"{case}: multiplication energy saved",
            statistics.mean(saved[method.name]),
            "%",
            GOAL_SAVED if judged else None,
            peer,
        )
        yield at_most(
            f"{case}: test top-1 lost",
            statistics.mean(losses),
            "pp",
            GOAL_LOSS if judged else None,
            _seeds(losses, "pp"),
        )
    for recovery in ("tuned", "corrected"):
        ahead = [a - b for a, b in zip(saved[f"knapsack, {recovery}"], saved[f"uniform, {recovery}"], strict=True)]
        case = f"{name}, knapsack before best uniform circuit, both {recovery}: multiplication energy saved"
        goal = GOAL_AHEAD if recovery == "tuned" and name == JUDGED else None
        yield at_least(case, statistics.mean(ahead), "points", goal, _seeds(ahead, "points"))
    yield from _read_off_rows(labs)


def _baseline_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    for images, test in (("distorted validation", False), ("test", True)):
        for which, reached in (
            ("float", [lab.floating(test) for lab in labs]),
            ("exact 8 bit", [lab.exact(test) for lab in labs]),
        ):
            top1 = [100 * r for r in reached]
            yield Row(
                f"{labs[0].name}, {which}: top-1 on {images} images", statistics.mean(top1), "%", peer=_seeds(top1, "%")
            )


def _read_off_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Savings at equal test loss: optimistic for every method alike, but free of what validation images cannot tell."""
    for method in methods(labs[0]).values():
        found = [crossing(losses_beside(lab, method), GOAL_LOSS) for lab in labs]
        yield Row(
            f"{labs[0].name}, {method.name}, read off test accuracy at {GOAL_LOSS:g} pp: multiplication energy saved",
            statistics.mean(found),
            "%",
            peer=f"{_seeds(found, '%')}; between points measured on test images",
        )


def losses_beside(lab: Laboratory, method: Method) -> list[tuple[float, float]]:
    """(saved %, test loss pp) of the chosen point and of those beside it; of our front, at all levels too."""
    points = [*beside(lab, method, choose(lab, method))]
    if method is OURS:
        points += level_points(lab)
    return sorted({(100 * (1 - p.energy), lab.loss(p, method.recovery, test=True)) for p in points})


def crossing(points: Sequence[tuple[float, float]], bound: float) -> float:
    """Where the loss passes a bound, linear between points; the last point where it does not, 0 where none is within.

    Args:
        points: (saved, loss).
        bound: of the loss.
    """
    saved, losses = zip(*sorted(points), strict=True)
    return float(np.interp(bound, np.maximum.accumulate(losses), saved, left=0.0))


def front_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Our front on validation and test images."""
    name, means, method = labs[0].name, list[float](), ours(labs[0])
    for index, level in enumerate(labs[0].plan.levels):
        points = [level_points(lab)[index] for lab in labs]
        losses = [lab.loss(p, method.recovery, test=True) for lab, p in zip(labs, points, strict=True)]
        chosen_on = [lab.loss(p, method.recovery) for lab, p in zip(labs, points, strict=True)]
        saved = [100 * (1 - p.energy) for p in points]
        means.append(statistics.mean(losses))
        peer = f"{_seeds(losses, 'pp')}; saved {spread(saved, '%')}; validation loss {spread(chosen_on, 'pp')}"
        yield Row(
            f"{name}, {method.name}, front at {100 * level:.0f} % saved: test top-1 lost", means[-1], "pp", peer=peer
        )
    back = max((dear - cheap for dear, cheap in pairwise(means)), default=0.0)
    yield at_most(
        f"{name}, {method.name}, front: largest accuracy lost by saving less",
        max(back, 0.0),
        "pp",
        SAMPLING,
        "0 for a monotone front; goal: about the standard error of a difference on 10,000 images",
    )


def _seeds(values: Sequence[float], unit: str) -> str:
    return f"seeds: {spread(values, unit)}"
