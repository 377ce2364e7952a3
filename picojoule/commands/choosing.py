"""The front of a network: from traces and sensitivities, given or measured here, to circuits for every layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import approx
from approx import LayerTrace, Operands, load_traces
from deploy.hardware import Hardware
from deploy.workload import LayerWorkload, workloads_of_module
from noise_models import (
    SELECTORS,
    Degradation,
    Evolution,
    FisherDegradation,
    Front,
    Limits,
    Selection,
    Sensitivity,
    Tolerance,
    ToleranceDegradation,
    error_model,
    list_candidates,
    measure_sensitivity,
    uniform,
    with_channel_choices,
)
from picojoule.commands.workplace import Workplace
from picojoule.errors import UserError
from picojoule.pipeline.select import HardwareEnergy, allowed
from picojoule.progress import progress
from picojoule.verbs import DEFAULT_HARDWARE


@dataclass(frozen=True)
class Sources:
    """Files of earlier commands; what is not given is measured on calibration images.

    Attributes:
        traces: of `picojoule trace`.
        sensitivity: of `picojoule tolerance --method fisher`; circuits are then judged by the rise of the loss.
        tolerance: of any method; without a sensitivity, circuits are judged by the share of it that they use up.
    """

    traces: Path | None = None
    sensitivity: Path | None = None
    tolerance: Path | None = None


@dataclass(frozen=True)
class Basis:
    """What circuits are judged by.

    Attributes:
        traces: of every layer.
        degradation: predicted, of a layer with an error.
        tolerance: what the published greedy matching compares errors with.
        unit: of the degradation, for tables and pictures.
    """

    traces: Mapping[str, LayerTrace]
    degradation: Degradation
    tolerance: Tolerance
    unit: str


NATS, USAGE = "loss increase (nats)", "tolerance used up (sum over layers)"


def read_basis(place: Workplace, sources: Sources) -> Basis:
    """Reads what there are files of, and measures the rest: traces in one pass, sensitivities in another.

    Raises:
        UserError: a file is of another network.
    """
    config = place.config
    needs_pass = sources.sensitivity is None and sources.tolerance is None
    batches = place.batches(config.data.calibration_images) if sources.traces is None or needs_pass else []
    network = approx.quantise(place.network(), batches) if batches else None
    if sources.traces is not None:
        traces = load_traces(sources.traces)
    else:
        assert network is not None
        traces = approx.trace(network, batches, config.select.patches)
    tolerance = Tolerance.load(sources.tolerance) if sources.tolerance is not None else None
    sensitivity = None
    if sources.sensitivity is not None:
        sensitivity = Sensitivity.load(sources.sensitivity)
    elif needs_pass:
        assert network is not None
        sensitivity = measure_sensitivity(network, batches, seed=config.seed)
    given = {sources.sensitivity: sensitivity, sources.tolerance: tolerance}
    _require_same_layers(traces, {path: known.layers for path, known in given.items() if path and known})
    if sensitivity is not None:
        bearable = tolerance or sensitivity.tolerance(traces)
        return Basis(traces, FisherDegradation(sensitivity), bearable, NATS)
    assert tolerance is not None
    return Basis(traces, ToleranceDegradation(tolerance), tolerance, USAGE)


def _require_same_layers(traces: Mapping[str, LayerTrace], known: Mapping[Path, Mapping[str, object]]) -> None:
    for path, layers in known.items():
        if set(layers) != set(traces):
            different = sorted(set(layers) ^ set(traces))
            raise UserError(
                f"{path} is not of the network that was traced: they differ in layers {different[:3]}; make it again"
            )


@dataclass(frozen=True)
class Fronts:
    """What selection found.

    Attributes:
        front: within the limits.
        baseline: one circuit everywhere.
        macs: multiplications by layer.
    """

    front: Front
    baseline: Front
    macs: Mapping[str, int]


def choose(place: Workplace, basis: Basis, limits: Limits, circuits_per_layer: int | None) -> Fronts:
    """Predicts every candidate and selects.

    Args:
        place: network, circuits, [select] and [energy].
        basis: what candidates are judged by.
        limits: what every point keeps.
        circuits_per_layer: absent: one circuit for all channels of a layer; otherwise at most so many.

    Raises:
        ValueError: nothing keeps the limits, a pin or a pattern fits nothing, or the traces are of another network.
    """
    config, traces = place.config.select, basis.traces
    workloads = workloads_of_module(place.network(), place.splits.train.shape)
    _require_traced(workloads, traces)
    hardware = Hardware.load(place.config.energy.hardware or DEFAULT_HARDWARE)
    operands = [Operands(name) for name in config.operands]
    torch.manual_seed(place.config.seed)
    with progress("predict", len(traces) * len(operands)) as step:
        single = list_candidates(
            traces,
            allowed(place.library, config.circuits),
            error_model(config.error_model),
            basis.degradation,
            operands,
            HardwareEnergy(workloads, hardware) if config.cost == "hardware" else None,
            lambda done, total, name: step(name),
            config.tune,
        )
    mixed = single
    if circuits_per_layer is not None:
        mixed = with_channel_choices(single, basis.degradation, circuits=circuits_per_layer)
    evolution = Evolution(config.evaluations, seed=place.config.seed)
    front = SELECTORS[config.method](Selection(mixed, limits, basis.tolerance, evolution))
    return Fronts(front, uniform(single), {w.name: w.macs for w in workloads})


def _require_traced(workloads: tuple[LayerWorkload, ...], traces: Mapping[str, LayerTrace]) -> None:
    unknown = [name for name in traces if name not in {w.name for w in workloads}]
    if unknown:
        raise UserError(f"the traces are not of this network, which has no layers {unknown[:3]}; trace it again")
