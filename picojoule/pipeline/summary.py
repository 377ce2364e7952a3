"""What a run found, from its finished stages: the results (JSON) and the contents of the report."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from approx import Assignment, load_traces
from noise_models import Front, Tolerance, error_model, predict_choice
from picojoule.config import to_toml
from picojoule.files import read_json
from picojoule.pipeline.energy import ENERGY, ORIGINAL
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import ASSIGNMENT
from picojoule.pipeline.savings import multiplication_saved
from picojoule.pipeline.select import FRONT, UNIFORM
from picojoule.pipeline.tolerate import TOLERANCE, TRACES
from picojoule.report import (
    Amount,
    CircuitSource,
    EnergyBar,
    FrontPoint,
    Headline,
    LayerRow,
    PointKind,
    RunReport,
    TargetRow,
)
from picojoule.stages import StageResult

Found = Mapping[str, StageResult]
ACCURACIES = ("accuracy_float", "accuracy_pruned", "accuracy_int8", "accuracy_approximate")
WHAT = {
    "onnx": "ONNX in onnxruntime",
    "tvm": "TVM, this machine",
    "cortex-m4": "C on an emulated Cortex-M4",
    "x86-64": "C for x86-64 Linux",
    "aarch64": "C for AArch64 Linux",
}


def results_of(found: Found) -> dict[str, Any]:
    """The run's results; accuracies are fractions of the test images, energies pJ per image."""
    measured, accounted, deployed = (found[name].values for name in ("measure", "energy", "deploy"))
    targets: Any = deployed["targets"]
    checked = [target["equal"] for target in targets.values() if target["equal"] is not None]
    pruned = "prune" in found
    return {
        **{key: measured[key] for key in measured if key != "accuracy_points"},
        **accounted,
        "front_measured": _front_measured(found),
        "max_difference_masked_cut": found["prune"].values["max_difference"] if pruned else None,
        "assignment": read_json(found["select"].path(ASSIGNMENT)),
        "backends": {name: target["equal"] for name, target in targets.items()},
        "backends_agree": all(checked) if checked else None,
        "golden_images": deployed["golden_images"],
        "seconds": {stage.name: stage.seconds for stage in found.values()},
    }


def _front_measured(found: Found) -> list[dict[str, Any]]:
    """Points of the front: saved multiplication energy, top-1 on the test images, predicted degradation."""
    points: Any = found["select"].values["measured"]
    top1: Any = found["measure"].values["accuracy_points"]
    return [
        {"saved": point["saved"], "top1": accuracy, "degradation": point["degradation"]}
        for point, accuracy in zip(points, top1, strict=True)
    ]


def report_of(lab: Lab, found: Found, results: Mapping[str, Any]) -> RunReport:
    """The contents of the report."""
    energy: Any = read_json(found["energy"].path(ENERGY))
    original: Any = read_json(found["energy"].path(ORIGINAL))
    provenance = energy["provenance"]
    environment: Any = read_json(lab.run.path / "environment.json")
    return RunReport(
        name=lab.config.name,
        description=f"{lab.config.model.name} on {lab.config.data.name}, energy of {provenance['hardware']['name']}",
        headline=_headline(found, results, energy),
        points=tuple(_points(lab, found, results)),
        accuracy_note=f"Accuracies are bit-exact, on all {results['test_images']} test images.",
        bars=_bars(energy, original, "prune" in found),
        layers=tuple(_layers(lab, found, energy)),
        targets=tuple(_targets(found)),
        circuits=_circuits(energy),
        hardware={key: str(provenance["hardware"][key]) for key in ("name", "node", "content_hash")},
        environment={key: str(value) for key, value in environment.items()},
        configuration=to_toml(lab.config),
        command=f"picojoule run {lab.run.path / 'config.toml'}",
        notes=(provenance["combination"], *(f"Not counted: {what}" for what in provenance["not_counted"])),
    )


def _headline(found: Found, results: Mapping[str, Any], energy: Mapping[str, Any]) -> Headline:
    accuracies = {key: 100 * results[key] for key in ACCURACIES if key in results}
    if found["retrain"].values["retrained"]:
        number: Any = found["select"].values["chosen"]
        accuracies["accuracy_retrained"] = accuracies["accuracy_approximate"]
        accuracies["accuracy_approximate"] = 100 * results["front_measured"][number]["top1"]
    return Headline(
        **accuracies,
        **{key: round(results[key]) for key in ("test_images", "macs_before", "macs_after")},
        **{key: round(results[key]) for key in ("parameters_before", "parameters_after")},
        **{key: energy[key] for key in ("saved_multiplication", "saved_multiplication_sigma")},
        **{key: energy[key] for key in ("saved_total", "saved_total_sigma")},
        multiplication_share_before=energy["components"]["multiplication"]["share_before"],
        multiplication_share_after=energy["components"]["multiplication"]["share_after"],
        backends_agree=results["backends_agree"],
    )


def _points(lab: Lab, found: Found, results: Mapping[str, Any]) -> list[FrontPoint]:
    selected = found["select"]
    macs = {row["layer"]: row["macs"] for row in _rows(read_json(found["energy"].path(ENERGY)))}

    def predicted(file: str, kind: PointKind) -> list[FrontPoint]:
        return [
            FrontPoint(
                kind=kind,
                label="" if kind is PointKind.PREDICTED else next(iter(p.assignment.layers.values())).multiplier,
                saved_multiplication=multiplication_saved(p.assignment, macs, lab.library),
                degradation=p.degradation,
            )
            for p in Front.load(selected.path(file))
        ]

    points = [*predicted(FRONT, PointKind.PREDICTED), *predicted(UNIFORM, PointKind.UNIFORM)]
    for number, point in enumerate(results["front_measured"]):
        points.append(
            FrontPoint(
                kind=PointKind.CHOSEN if number == selected.values["chosen"] else PointKind.MEASURED,
                saved_multiplication=point["saved"],
                accuracy=100 * point["top1"],
                degradation=point["degradation"],
            )
        )
    if found["retrain"].values["retrained"]:
        points.append(
            FrontPoint(
                kind=PointKind.RETRAINED,
                saved_multiplication=results["energy_saved_multiplication"],
                accuracy=100 * results["accuracy_approximate"],
            )
        )
    return points


def _bars(energy: Mapping[str, Any], original: Mapping[str, Any], pruned: bool) -> tuple[EnergyBar, ...]:
    def bar(label: str, report: Mapping[str, Any], when: str) -> EnergyBar:
        components = {
            name: Amount(pj=part[f"{when}_pj"], sigma_pj=part[f"{when}_sigma_pj"])
            for name, part in report["components"].items()
        }
        total = Amount(pj=report["totals"][f"{when}_pj"], sigma_pj=report["totals"][f"{when}_sigma_pj"])
        return EnergyBar(label=label, components=components, total=total)

    bars = [bar("exact 8 bit", original, "before")]
    if pruned:
        bars.append(bar("pruned, exact 8 bit", energy, "before"))
    return (*bars, bar("approximate", energy, "after"))


def _rows(energy: Any) -> list[dict[str, Any]]:
    return list(energy["layers"])


def _layers(lab: Lab, found: Found, energy: Mapping[str, Any]) -> list[LayerRow]:
    original = {row["layer"]: row for row in _rows(read_json(found["energy"].path(ORIGINAL)))}
    tolerance = Tolerance.load(found["tolerate"].path(TOLERANCE))
    traces = load_traces(found["tolerate"].path(TRACES))
    chosen = Assignment.load(found["select"].path(ASSIGNMENT)).circuits(traces, lab.library)
    rows = []
    for row in _rows(energy):
        name, error = row["layer"], 0.0
        if name in chosen:
            prediction = predict_choice(traces[name], *chosen[name], error_model(lab.config.select.error_model))
            error = prediction.layer_residual_std / traces[name].accumulator_std
        before, now, level = original[name], traces[name], tolerance[name].level
        rows.append(
            LayerRow(
                name=name,
                circuit=row["circuit"],
                operands=row["operands"] or "",
                macs=row["macs"],
                energy_before=row["before_pj"],
                energy_after=row["after_pj"],
                multiplication_before=row["multiplication_before_pj"],
                multiplication_after=row["multiplication_after_pj"],
                channels_before=before["channels"],
                channels_after=len(now.weight),
                tolerance=level if np.isfinite(level) else None,
                predicted_error=error,
            )
        )
    return rows


def _targets(found: Found) -> list[TargetRow]:
    targets: Any = found["deploy"].values["targets"]
    count: Any = found["deploy"].values["golden_images"]
    rows = []
    for name, target in targets.items():
        sizes = {
            key: value
            for key, value in target.items()
            if key not in ("equal", "checks", "images_different") and value is not None
        }
        details = {
            key.replace("_bytes", ""): f"{value:,}" + (" B" if key.endswith("_bytes") else "")
            for key, value in sizes.items()
        }
        golden = 0 if target["equal"] is None else count
        equal = golden - target["images_different"] if golden else 0
        rows.append(
            TargetRow(name=name, what=WHAT.get(name, name), golden_images=golden, golden_equal=equal, details=details)
        )
    return rows


def _circuits(energy: Mapping[str, Any]) -> tuple[CircuitSource, ...]:
    uses = [name for row in _rows(energy) for name in row["circuit"].split("+")]
    return tuple(
        CircuitSource(
            name=name,
            layers=uses.count(name),
            energy_relative=circuit["energy_relative"],
            **{key: circuit[key] for key in ("source", "node", "method", "uncertainty")},
        )
        for name, circuit in energy["provenance"]["circuits"].items()
    )
