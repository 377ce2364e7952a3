"""The picture of `benchmarks.selection`: test accuracy lost over multiplication energy saved, means of the seeds."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._selection_choice import choose
from benchmarks._selection_lab import TUNE, Laboratory
from benchmarks._selection_methods import OURS, UNIFORM, level_points, methods
from benchmarks._selection_retraining import METHODS, retrained
from benchmarks._selection_tables import GOAL_LOSS
from noise_models import FrontPoint

OUR_COLOUR, UNIFORM_COLOUR, OTHERS = "#2166c4", "#8b9097", ("#c2470a", "#3b8f5a", "#8a4fb0", "#b08a1e", "#1f8a94")
HIGHEST = 6.0  # pp
MARKERS = "sP^vX<>"
Place = tuple[float, float]  # saved %, test loss pp


def draw(labs: Sequence[Laboratory], path: Path, with_retrained: bool) -> None:
    """Writes the SVG picture of everything measured on test images."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "picojoule", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(8.4, 5.2), layout="constrained")
        axes = figure.add_subplot()
        _front(axes, labs)
        _chosen(axes, labs)
        if with_retrained:
            _retrained(axes, labs)
        axes.axhline(GOAL_LOSS, color="#8b9097", linewidth=0.8, linestyle=":")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.5), min(high, HIGHEST))
        axes.set_xlabel("multiplication energy saved (%)")
        axes.set_ylabel(f"test top-1 lost against exact 8 bit (pp), {labs[0].plan.set_up.test_images} images")
        axes.set_title(
            f"{labs[0].name}, CIFAR-10, EvoApprox lite; mean and standard deviation over seeds 0..{len(labs) - 1}"
        )
        axes.grid(color="#e2e3df")
        axes.legend(loc="upper left", fontsize=8, framealpha=0.9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _front(axes: Any, labs: Sequence[Laboratory]) -> None:
    series = zip(*([_measured(lab, p) for p in level_points(lab)] for lab in labs), strict=True)
    _series(axes, sorted(map(_mean, series)), fmt="o-", color=OUR_COLOUR, label=f"{OURS.name}: front")


def _chosen(axes: Any, labs: Sequence[Laboratory]) -> None:
    """What each method's choice on validation images came to."""
    others = [m for m in methods(labs[0]).values() if m is not OURS]
    bound = labs[0].plan.largest_loss
    found = [_measured(lab, choose(lab, OURS)) for lab in labs]
    label = f"{OURS.name}: chosen at <= {bound:g} pp of validation"
    _series(axes, [_mean(found)], fmt="*", color=OUR_COLOUR, label=label, markersize=13)
    for number, method in enumerate(others):
        places = [_measured(lab, choose(lab, method), method.recovery) for lab in labs]
        colour = UNIFORM_COLOUR if method.selection == UNIFORM.selection else OTHERS[number % len(OTHERS)]
        _series(axes, [_mean(places)], fmt=MARKERS[number % len(MARKERS)], color=colour, label=f"{method.name}: chosen")


def _retrained(axes: Any, labs: Sequence[Laboratory]) -> None:
    words = labs[0].plan.retraining[labs[0].name].words
    for (name, (points, order)), colour in zip(METHODS.items(), (OUR_COLOUR, OTHERS[1], UNIFORM_COLOUR), strict=True):
        done = [[retrained(lab, p) for p in points(lab)] for lab in labs]
        if not any(done):
            continue
        places = sorted(_mean([(r.saved, r.test) for r in same]) for same in order(done))
        label = f"{name}, tuned and retrained, {words}"
        _series(axes, places, fmt="D--", color=colour, label=label, markerfacecolor="white")


def _measured(lab: Laboratory, point: FrontPoint, recovery: str = TUNE) -> Place:
    return 100 * (1 - point.energy), lab.loss(point, recovery, test=True)


def _mean(places: Sequence[Place]) -> tuple[float, ...]:
    """Mean saved and lost, then their standard deviations."""
    columns = list(zip(*places, strict=True))
    spread = [statistics.stdev(c) if len(c) > 1 else 0.0 for c in columns]
    return (*map(statistics.mean, columns), *spread)


def _series(axes: Any, places: Sequence[tuple[float, ...]], **style: Any) -> None:
    x, y, x_error, y_error = zip(*places, strict=True)
    axes.errorbar(x, y, xerr=x_error, yerr=y_error, capsize=2, linewidth=1.2, elinewidth=0.8, **style)
