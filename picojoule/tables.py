"""Tables on standard output: what a command found, at a glance."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from approx import LayerKernel, LayerTrace
from approx.kernels.calibrate import PathTime
from deploy.energy import COMPONENTS, EnergyReport
from deploy.targets.base import Artifact
from noise_models import Tolerance
from picojoule.report.numbers import energy as pj


def console() -> Console:
    """Standard output; wide enough for whole tables where it is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f} %"


def print_headline(results: Mapping[str, Any], console: Console) -> None:
    """The table at the end of a run."""
    r = results
    table = _table("", "", "original", "now", "saved")
    macs, parameters = (r["macs_before"], r["macs_after"]), (r["parameters_before"], r["parameters_after"])
    table.add_row("MACs per image", *(f"{n:,.0f}" for n in macs), _percent(1 - macs[1] / macs[0], 1))
    table.add_row("weights", *(f"{n:,.0f}" for n in parameters), _percent(1 - parameters[1] / parameters[0], 1))
    total = r["original_pj"], r["approximate_pj"]
    table.add_row(
        "energy per image", *(pj(value) for value in total), _percent(r["energy_saved_total_with_pruning"], 1)
    )
    shares = (_percent(r[f"multiplication_share_{when}"], 1) for when in ("before", "after"))
    table.add_row("  share of multiplication", *shares, "")
    saved = _percent(r["energy_saved_multiplication_with_pruning"], 1)
    table.add_row("  multiplication alone", "", "", saved)
    table.add_row("by the circuits alone: multiplication", "", "", _percent(r["energy_saved_multiplication"], 1))
    table.add_row("by the circuits alone: total", "", "", _percent(r["energy_saved_total"], 1))
    accuracies = _table("", f"top-1 on {r['test_images']} test images", "")
    names = {"float": "float", "pruned": "pruned", "int8": "exact 8 bit", "approximate": "approximate, bit-exact"}
    for key, name in names.items():
        if f"accuracy_{key}" in r:
            accuracies.add_row(name, _percent(r[f"accuracy_{key}"]))
    console.print(accuracies)
    console.print(table)
    verdict = {True: "equal", False: "DIFFERENT", None: "not run"}
    backends = ", ".join(f"{name} {verdict[equal]}" for name, equal in r["backends"].items())
    console.print(f"\n{r['golden_images']} golden images against the integer program: {backends}")
    console.print(f"report: {r['report']}", soft_wrap=True)


def print_energy(report: EnergyReport, console: Console) -> None:
    """Energy by layer and by component, before and after."""
    layers = _table("", "layer", "circuit", "operands", "MACs", "exact", "now", "saved")
    for row in report.rows():
        layers.add_row(
            row["layer"],
            row["circuit"],
            row["operands"] or "",
            f"{row['macs']:,}",
            pj(row["before_pj"]),
            pj(row["after_pj"]),
            _percent(row["saved"], 1),
        )
    console.print(layers)
    parts = _table("", "component", "exact", "share", "now", "share")
    before, after = report.shares(), report.shares(after=True)
    for name in COMPONENTS:
        values = pj(report.before(name).value), _percent(before[name], 1)
        parts.add_row(name.replace("_", " "), *values, pj(report.after(name).value), _percent(after[name], 1))
    parts.add_row("total", pj(report.total_before_pj), "", pj(report.total_after_pj), "")
    console.print(parts)
    multiplication = f"{_percent(report.saved_multiplication, 1)} ± {_percent(report.saved_multiplication_sigma, 1)}"
    total = f"{_percent(report.saved_total, 1)} ± {_percent(report.saved_total_sigma, 1)}"
    console.print(f"\nsaved: multiplication {multiplication}, total {total} (1 sigma); {report.hardware.name}")


def trace_rows(traces: Mapping[str, LayerTrace]) -> list[dict[str, Any]]:
    """One row a layer, for table and JSON."""
    return [
        {
            "layer": name,
            "macs": trace.macs,
            "fan_in": trace.fan_in,
            "channels": len(trace.weight),
            "groups": trace.groups,
            "accumulator_std": trace.accumulator_std,
            "zero_codes": float(trace.code_histogram[trace.input_zero]),
        }
        for name, trace in traces.items()
    ]


def print_traces(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """What every layer sees."""
    table = _table("", "layer", "MACs", "share", "fan-in", "channels", "accumulator std", "zero activations")
    total = sum(row["macs"] for row in rows)
    for row in rows:
        work = f"{row['macs']:,}", _percent(row["macs"] / total, 1), str(row["fan_in"]), str(row["channels"])
        table.add_row(row["layer"], *work, f"{row['accumulator_std']:.3g}", _percent(row["zero_codes"], 1))
    console.print(table)
    console.print(f"together {total:,} MACs per image; std in real units before the bias; zeros include padding")


def tolerance_rows(tolerance: Tolerance) -> list[dict[str, Any]]:
    """One row a layer; None stands for any error."""
    return [
        {"layer": name, "relative": layer.level if math.isfinite(layer.level) else None}
        for name, layer in tolerance.layers.items()
    ]


def print_tolerance(rows: Sequence[Mapping[str, Any]], method: str, console: Console) -> None:
    """What every layer bears."""
    table = _table("", f"layer ({method})", "std of the error it bears, % of its output's std")
    for row in rows:
        table.add_row(row["layer"], "any" if row["relative"] is None else f"{100 * row['relative']:.3g}")
    console.print(table)


def print_front(about: Mapping[str, Any], console: Console) -> None:
    """Points of a front that were written, and what was measured of them."""
    measured = "exact" in about
    accuracy = ["accuracy", "loss against exact"] if measured else []
    table = _table("", "choice", "multiplication saved", "energy", f"predicted {about['unit']}", *accuracy)
    for row in (*about["written"], *about.get("uniform", ())):
        name = row["file"] if "file" in row else f"{row['circuit']} everywhere"
        values = [_percent(row["saved"], 1), f"{row['energy']:.4f}", f"{row['degradation']:.2g}"]
        table.add_row(name, *values, *_measured(row) if measured else ())
    console.print(table)
    console.print(
        "saved: share of exact circuits' multiplication energy; energy: what was minimised, relative to exact"
    )
    if measured:
        seeds = f", {about['seeds']} choices of calibration images (mean ± std)" if about["seeds"] > 1 else ""
        exact = _percent(about["exact"]["accuracy"])
        console.print(f"bit-exact on {about['images']:,} validation images{seeds}, not retrained; exact 8 bit {exact}")
    else:
        console.print("the degradation is predicted; --measure N runs points bit-exactly")


def _measured(row: Mapping[str, Any]) -> tuple[str, str]:
    scatter, loss = row["accuracy_std"], f"{row['loss_pp']:+.2f}"
    if scatter is None:
        return _percent(row["accuracy"]), f"{loss} pp"
    return f"{100 * row['accuracy']:.2f} ± {100 * scatter:.2f} %", f"{loss} ± {row['loss_pp_std']:.2f} pp"


def print_retrained(values: Mapping[str, Any], console: Console) -> None:
    """Accuracies before and after training with the bit-exact forward."""
    table = _table("", "", f"top-1 on {values['validation_images']} validation images")
    names = {"exact": "exact 8 bit", "before": "circuits, weights tuned", "after": "retrained"}
    for key, name in names.items():
        table.add_row(name, _percent(values[f"accuracy_{key}"]))
    console.print(table)
    if "test_images" in values:
        exact, after = (_percent(values[f"test_accuracy_{key}"]) for key in ("exact", "after"))
        console.print(f"on {values['test_images']} test images: exact 8 bit {exact}, retrained {after}")
    console.print(f"checkpoint: {values['checkpoint']}", soft_wrap=True)
    program = values["program"] or f"none: {values['no_program_because']}"
    console.print(f"program: {program}", soft_wrap=True)


def artifact_values(artifact: Artifact) -> dict[str, Any]:
    """What was built, as JSON."""
    return {
        "target": artifact.target,
        "folder": str(artifact.folder),
        "files": list(artifact.files),
        "flash_bytes": artifact.sizes.flash,
        "ram_bytes": artifact.sizes.ram,
        "stack_bytes": artifact.sizes.stack,
        "instructions": artifact.instructions,
        "checks": [{"name": c.name, "outcome": c.outcome, "detail": c.detail} for c in artifact.checks],
        "passed": artifact.passed,
    }


def print_artifact(artifact: Artifact, console: Console) -> None:
    """What was built, and whether it computes the same integers."""
    table = _table("", artifact.target, "")
    sizes = {"flash": artifact.sizes.flash, "RAM": artifact.sizes.ram, "stack": artifact.sizes.stack}
    for name, size in sizes.items():
        table.add_row(name, "not measured" if size is None else f"{size:,} bytes")
    if artifact.instructions is not None:
        table.add_row("instructions per image", f"{artifact.instructions:,}")
    for check in artifact.checks:
        table.add_row(f"{check.name}: {check.outcome}", check.detail)
    console.print(table)
    console.print(f"{artifact.folder}: {', '.join(artifact.files)}", soft_wrap=True)


def print_kernels(rows: Sequence[LayerKernel], threads: int, console: Console) -> None:
    """One line per layer: kernel, predicted and measured time, ratio to the float convolution."""
    table = _table("", "layer", "batch -> channels", "circuit", "kernel", "predicted", "measured", "float", "ratio")
    for row in rows:
        times = f"{row.predicted_ms:.2f} ms", f"{row.measured_ms:.2f} ms", f"{row.float_ms:.2f} ms"
        table.add_row(row.layer, row.shape, row.circuit, row.path, *times, f"{row.measured_ms / row.float_ms:.2f}")
    console.print(table)
    ours, floats = sum(row.measured_ms for row in rows), sum(row.float_ms for row in rows)
    console.print(f"together {ours:.1f} ms, {ours / floats:.2f} of float; {threads} threads, predictions for one")


def print_cost_factors(paths: Sequence[PathTime], console: Console) -> None:
    """One line per kernel path: how its time here compares with the cost model's machine."""
    table = _table("", "kernel", "measured / predicted", "layers measured")
    for each in paths:
        table.add_row(each.path, f"{each.factor:.2f}", str(each.layers))
    console.print(table)
