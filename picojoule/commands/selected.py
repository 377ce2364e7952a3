"""What `select` leaves behind: files, pictures, table; and the measurements, where they are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from approx import Assignment
from noise_models import FrontPoint
from picojoule.commands.basis import Basis
from picojoule.commands.choosing import Fronts
from picojoule.commands.measuring import Accuracy, Measurement, spread, worth_measuring
from picojoule.commands.workplace import Workplace
from picojoule.front_folder import PICTURES, WORK, write_front, write_measured
from picojoule.pipeline.savings import multiplication_saved
from picojoule.progress import progress
from picojoule.report.measured_front import FrontContents, PicturePoint, draw_front
from picojoule.run_folder import RunFolder
from picojoule.tables import console, print_front

Row = dict[str, Any]
AXES = {
    "multiplication": "multiplication energy saved (% of exact circuits)",
    "hardware": "multiplication energy saved, sign logic and wider weights charged (% of exact circuits)",
}
"""What is minimised, by [select] cost."""


@dataclass(frozen=True)
class Request:
    """What to leave behind.

    Attributes:
        out: folder.
        points: to write, where none are measured.
        measure: points to write and measure; 0: none.
        seeds: choices of calibration images to measure with.
    """

    out: Path
    points: int
    measure: int
    seeds: int


def report(place: Workplace, basis: Basis, fronts: Fronts, request: Request) -> Row:
    """Measures what is asked for, writes the folder, prints the table; returns it as JSON."""
    points = worth_measuring(fronts.front, request.measure, basis.band) if request.measure else ()
    uniform = worth_measuring(fronts.baseline, request.measure, basis.band) if request.measure else ()
    exact, accuracies, images = _measure(place, [*points, *uniform], request)
    written = points or spread(list(fronts.front), request.points)
    files = write_front(request.out, fronts.front, fronts.baseline, written)

    def row(number: int, point: FrontPoint) -> Row:
        saved = multiplication_saved(point.assignment, fronts.macs, place.library)
        values = {"energy": point.energy, "degradation": point.degradation, "saved": saved}
        return values | (_accuracy(accuracies[number], exact) if exact is not None else {})

    rows = [{"file": str(path), **row(i, p)} for i, (path, p) in enumerate(zip(files, written, strict=True))]
    others = [{"circuit": circuit_of(p), **row(len(points) + i, p)} for i, p in enumerate(uniform)]
    about: Row = {"points": len(fronts.front), "unit": basis.unit, "written": rows}
    if exact is not None:
        about |= {"uniform": others, "exact": _accuracy(exact, exact), "seeds": request.seeds, "images": images}
        write_measured(request.out, about)
    draw_front(_contents(place, basis, fronts, about), *(request.out / name for name in PICTURES))
    print_front(about, console())
    return about


def _measure(
    place: Workplace, points: Sequence[FrontPoint], request: Request
) -> tuple[Accuracy | None, list[Accuracy], int]:
    """Of the exact network and of each point, and on how many images; nothing where there are no points."""
    if not points:
        return None, [], 0
    with RunFolder(request.out / WORK) as run:
        measurement = Measurement(place, run)
        assignments = [Assignment(), *(p.assignment for p in points)]
        with progress("measure", request.seeds * len(assignments)) as step:
            exact, *found = measurement.run_all(assignments, request.seeds, step)
    return exact, found, measurement.images


def _accuracy(found: Accuracy, exact: Accuracy) -> Row:
    """Loss against the exact network of the same seed, so that what both share does not count as scatter."""
    losses = Accuracy(tuple(e - f for e, f in zip(exact.by_seed, found.by_seed, strict=True)))
    return {
        "accuracy": found.mean,
        "accuracy_std": found.std,
        "accuracy_by_seed": list(found.by_seed),
        "loss_pp": 100 * losses.mean,
        "loss_pp_std": None if losses.std is None else 100 * losses.std,
    }


def circuit_of(point: FrontPoint) -> str:
    """The circuit of a choice of one circuit everywhere."""
    return next(iter(point.assignment.layers.values())).multiplier


def _contents(place: Workplace, basis: Basis, fronts: Fronts, about: Row) -> FrontContents:
    measured: Mapping[tuple[str, float], Row] = {
        ("front" if "file" in row else "uniform", row["energy"]): row
        for row in (*about["written"], *about.get("uniform", ()))
        if "accuracy" in row
    }

    def point(kind: str, p: FrontPoint) -> PicturePoint:
        row = measured.get((kind, p.energy), {})
        label = circuit_of(p).split("_", 1)[-1] if kind == "uniform" else ""
        return PicturePoint(1.0 - p.energy, p.degradation, row.get("accuracy"), row.get("accuracy_std"), label)

    note = f"bit-exact, {about.get('images', 0):,} validation images, weights tuned, not retrained"
    if about.get("seeds", 1) > 1:
        note += f"; bars: std over {about['seeds']} choices of calibration images"
    return FrontContents(
        title=f"{place.config.model.name} on {place.config.data.name}: {fronts.front.method}",
        front=[point("front", p) for p in fronts.front],
        baseline=[point("uniform", p) for p in fronts.baseline],
        axis=AXES[place.config.select.cost],
        unit=basis.unit,
        exact=about["exact"]["accuracy"] if "exact" in about else None,
        note=note,
    )
