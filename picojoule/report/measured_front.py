"""The front that selection found, as a picture (.svg, .png) by matplotlib: predicted curve, measured points.

Above, accuracies measured bit-exactly, with error bars over seeds; below, predicted degradation. Both over the share of
energy saved: the energy that selection minimised, so that the curve rises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picojoule.files import atomic_path
from picojoule.report.contents import IN_VIEW

OURS, UNIFORM, MUTED = "#2166c4", "#8b5a00", "#6b7078"


@dataclass(frozen=True)
class PicturePoint:
    """A choice of circuits.

    Attributes:
        saved: share of the energy that was minimised, relative to exact circuits.
        degradation: predicted.
        accuracy: mean share of validation images, where it was measured.
        std: of the accuracy over seeds, where there are several.
        label: the circuit, of a choice with one only.
    """

    saved: float
    degradation: float
    accuracy: float | None = None
    std: float | None = None
    label: str = ""


@dataclass(frozen=True)
class FrontContents:
    """What the picture shows.

    Attributes:
        title: network and data.
        front: all points, in order of energy; those measured have an accuracy.
        baseline: one circuit everywhere; likewise.
        axis: what was saved, of what.
        unit: of the degradation.
        exact: accuracy of the exact 8-bit network, where points were measured.
        note: what the accuracies were measured on.
    """

    title: str
    front: Sequence[PicturePoint]
    baseline: Sequence[PicturePoint]
    axis: str
    unit: str
    exact: float | None = None
    note: str = ""


def draw_front(contents: FrontContents, *paths: Path) -> None:
    """Draws it, once for each path."""
    from matplotlib.figure import Figure

    if contents.exact is None:
        figure = Figure(figsize=(7.6, 4.4), layout="constrained")
        below = figure.subplots()
    else:
        figure = Figure(figsize=(7.6, 7.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
        _accuracies(above, contents, contents.exact)
    _degradations(below, contents)
    below.set_xlabel(contents.axis)
    figure.suptitle(contents.title, fontsize=11)
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=150)


def _accuracies(axes: Any, contents: FrontContents, exact: float) -> None:
    axes.axhline(100 * exact, color=MUTED, ls=":", lw=1.2, label=f"exact 8-bit, {100 * exact:.2f} %")
    series = ((contents.baseline, "one circuit everywhere", UNIFORM, "D", ""),
              (contents.front, "one choice per layer", OURS, "o", "-"))  # fmt: skip
    for points, name, colour, marker, line in series:
        measured = sorted((p for p in points if p.accuracy is not None), key=lambda p: p.saved)
        if measured:
            x, y = [100 * p.saved for p in measured], [100 * (p.accuracy or 0.0) for p in measured]
            bars = [100 * (p.std or 0.0) for p in measured] if any(p.std for p in measured) else None
            style: dict[str, Any] = {"fmt": marker + line, "color": colour, "ms": 6, "lw": 1.4, "capsize": 3}
            axes.errorbar(x, y, yerr=bars, label=f"{name}, measured", zorder=3, **style)
            _name_circuits(axes, measured)
    top = max([exact, *(p.accuracy for p in (*contents.front, *contents.baseline) if p.accuracy is not None)])
    lowest = min((p.accuracy for p in contents.front if p.accuracy is not None), default=exact)
    floor = max(lowest, exact - IN_VIEW / 100)
    axes.set_ylim(100 * floor - max(0.6, 25 * (exact - floor)), 100 * top + max(0.4, 12 * (exact - floor)))
    axes.set(ylabel="top-1 on validation images (%)")
    axes.set_title(contents.note, fontsize=9, color=MUTED)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=9)


def _degradations(axes: Any, contents: FrontContents) -> None:
    for points, name, colour, style in (
        (contents.baseline, "one circuit everywhere, predicted", UNIFORM, "D"),
        (contents.front, "one choice per layer, predicted", OURS, "-"),
    ):
        shown = [p for p in points if p.degradation > 0]
        axes.plot([100 * p.saved for p in shown], [p.degradation for p in shown], style, color=colour, ms=4, label=name)
    measured = [p for p in contents.front if p.accuracy is not None and p.degradation > 0]
    axes.plot([100 * p.saved for p in measured], [p.degradation for p in measured], "o", color=OURS, ms=6)
    shown = measured or [p for p in contents.front if p.degradation > 0]
    if shown:
        high = max(p.degradation for p in shown)
        axes.set(yscale="log", ylim=(min(p.degradation for p in shown) / 3, high * 4))
        lowest = min(p.saved for p in shown)
        axes.set_xlim(100 * lowest - (7 if measured else 1), 101)
    axes.set(ylabel=f"predicted {contents.unit}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=9)


def _name_circuits(axes: Any, points: Sequence[PicturePoint]) -> None:
    """Left of the point, where no error bar is."""
    from matplotlib.patheffects import withStroke

    for point in points:
        at = (100 * point.saved, 100 * (point.accuracy or 0.0))
        style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "color": UNIFORM}
        name = axes.annotate(point.label, at, xytext=(-8, 0), textcoords="offset points", annotation_clip=True, **style)
        name.set(zorder=4, path_effects=[withStroke(linewidth=3, foreground="white")])
