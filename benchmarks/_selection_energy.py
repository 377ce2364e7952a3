"""Rows of `benchmarks.selection` about energy: what is saved of what, and the price of mixing circuits."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks._report import Row
from benchmarks._selection_choice import choose
from benchmarks._selection_lab import Laboratory, data
from benchmarks._selection_methods import OURS, UNIFORM
from benchmarks._selection_retraining import METHODS, cheapest, retrained
from benchmarks._selection_tables import spread
from deploy.energy import EnergyReport, account_assignment
from deploy.energy_report import COMPONENTS
from deploy.hardware import Hardware
from deploy.workload import workloads_of_module
from noise_models import Front, FrontPoint, Limits, cheapest_within
from picojoule.files import Json
from picojoule.verbs import DEFAULT_HARDWARE

COLUMNS = {
    "multiplication alone": ("multiplication",),
    "multiplication with sign logic and wider weights": ("multiplication", "operand_overhead"),
    "multiplication with sign logic, wider weights and accumulation": (
        "multiplication",
        "operand_overhead",
        "accumulation",
    ),
    "everything counted: with requantisation and memory too": COMPONENTS,
}


def energy_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Columns of the chosen points, those after retraining too where that is done; then the price of mixing."""
    for method in (OURS, UNIFORM):
        yield from _column_rows(
            labs, f"{method.name}, chosen without retraining", [choose(lab, method) for lab in labs]
        )
    if labs[0].store.rows("retraining", labs[0].name).is_file():
        for name, (points, _) in METHODS.items():
            done = [[retrained(lab, point) for point in points(lab)] for lab in labs]
            if not any(done):
                continue
            chosen = [cheapest(row, lab.plan.largest_loss).point for lab, row in zip(labs, done, strict=True)]
            yield from _column_rows(labs, f"{name}, chosen after retraining", chosen)
    for count in labs[0].plan.circuits_at_most:
        yield _mixing_row(labs, count)


def _column_rows(labs: Sequence[Laboratory], name: str, points: Sequence[FrontPoint]) -> Iterator[Row]:
    reports = [_report(lab, point) for lab, point in zip(labs, points, strict=True)]
    for column, components in COLUMNS.items():
        saved = [100 * (1 - _sum(r, components, after=True) / _sum(r, components)) for r in reports]
        exact = _sum(reports[0], components) / 1e6
        of = f"of {exact:.3f} uJ per image of the exact 8-bit network on {DEFAULT_HARDWARE}"
        case = f"{labs[0].name}, {name}: saved of {column}"
        yield Row(case, statistics.mean(saved), "%", peer=f"{of}; seeds: {spread(saved, '%')}")


def _report(lab: Laboratory, point: FrontPoint) -> EnergyReport:
    workloads = workloads_of_module(lab.model, data().train.shape)
    return account_assignment(workloads, point.assignment, lab.library, Hardware.load(DEFAULT_HARDWARE))


def _sum(report: EnergyReport, components: Sequence[str], after: bool = False) -> float:
    """Picojoules per image."""
    return sum((report.after if after else report.before)(component).value for component in components)


def _mixing_row(labs: Sequence[Laboratory], count: int) -> Row:
    """The cheapest choice of so many circuits that degrades no more, by prediction, than the chosen point."""
    points = [_with_circuits(lab, count) for lab in labs]
    losses = {
        where: [lab.loss(p, OURS.recovery, where == "test") for lab, p in zip(labs, points, strict=True)]
        for where in ("validation", "test")
    }
    saved = [100 * (1 - p.energy) for p in points]
    used = " ".join(str(len({c for choice in p.assignment.layers.values() for c in choice.circuits})) for p in points)
    measured = "; ".join(f"{where} loss {spread(values, 'pp')}" for where, values in losses.items())
    return Row(
        f"{labs[0].name}, knapsack of at most {count} circuits, tuned, predicted to degrade as the chosen point: "
        "multiplication energy saved",
        statistics.mean(saved),
        "%",
        peer=f"seeds: {spread(saved, '%')}; {measured}; circuits used: {used}",
    )


def _with_circuits(lab: Laboratory, count: int) -> FrontPoint:
    chosen = choose(lab, OURS)
    key = {**lab.key, "circuits": count, "degradation": chosen.degradation}

    def measure() -> Json:
        limits = Limits(degradation=chosen.degradation, circuits=count)
        return Front("few circuits", (cheapest_within(lab.tuned_candidates, limits),)).to_json()

    return Front.from_json(lab.store.value("mixing", key, measure)).points[0]
