"""What selection judges circuits by: traces, and sensitivities or tolerances; from files, or measured here."""

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

import approx
from approx import LayerTrace, load_traces
from noise_models import (
    Degradation,
    FisherDegradation,
    LayerSensitivity,
    LayerTolerance,
    Sensitivity,
    Tolerance,
    ToleranceDegradation,
    measure_sensitivity,
)
from picojoule.commands.workplace import Workplace
from picojoule.errors import UserError

_NATS = (1e-3, 0.1)
_USAGE_OF_A_LAYER = (0.03, 3.0)


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

    def given(self) -> dict[str, Path]:
        """Files by name.

        Raises:
            FileNotFoundError: one is not there.
        """
        given = {name: path for name, path in vars(self).items() if path is not None}
        for path in given.values():
            if not path.is_file():
                raise FileNotFoundError(2, "No such file or directory", str(path))
        return given


@dataclass(frozen=True)
class Basis:
    """What circuits are judged by.

    Attributes:
        traces: of every layer.
        degradation: predicted, of a layer with an error.
        tolerance: what the published greedy matching compares errors with.
        unit: of the degradation, for tables and pictures.
        band: of the network's degradation where accuracy is at stake: below nothing is lost, above nearly everything.
    """

    traces: Mapping[str, LayerTrace]
    degradation: Degradation
    tolerance: Tolerance
    unit: str
    band: tuple[float, float]


def read_basis(place: Workplace, sources: Sources) -> Basis:
    """Reads what there are files of, and measures the rest: traces in one pass, sensitivities in another.

    Raises:
        ValueError: a file is missing, damaged, or of another network.
    """
    given = sources.given()
    traces = read_traces(given["traces"]) if "traces" in given else None
    sensitivity = Sensitivity.load(given["sensitivity"]) if "sensitivity" in given else None
    tolerance = Tolerance.load(given["tolerance"]) if "tolerance" in given else None
    if given:
        own = approx.capture(place.network(), torch.zeros(1, *place.splits.train.shape)).multiplying()
        files: dict[str, Mapping[str, Any]] = {
            "traces": traces or {},
            "sensitivity": sensitivity.layers if sensitivity else {},
            "tolerance": tolerance.layers if tolerance else {},
        }
        for name, path in given.items():
            _require_same_layers(path, own, files[name])
        for trace in (traces or {}).values():
            _require_same_weights(given["traces"], own[trace.name], trace)
    is_unjudged = sensitivity is None and tolerance is None
    if traces is None or is_unjudged:
        batches = place.batches(place.config.data.calibration_images)
        network = approx.quantise(place.network(), batches)
        traces = traces or approx.trace(network, batches, place.config.select.patches)
        if is_unjudged:
            sensitivity = measure_sensitivity(network, batches, seed=place.config.seed)
    if sensitivity is not None:
        bearable = tolerance or sensitivity.tolerance(traces)
        return Basis(traces, FisherDegradation(sensitivity), bearable, "loss increase (nats)", _NATS)
    assert tolerance is not None
    low, high = (len(traces) * usage for usage in _USAGE_OF_A_LAYER)
    return Basis(traces, ToleranceDegradation(tolerance), tolerance, "tolerance used up (sum over layers)", (low, high))


def read_traces(path: Path) -> dict[str, LayerTrace]:
    """`load_traces`, with a message of one line.

    Raises:
        UserError: it is no file of traces.
    """
    try:
        return load_traces(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged, or no traces ({error}); make it again with `picojoule trace`") from error


def _require_same_layers(path: Path, own: Mapping[str, nn.Module], found: Mapping[str, Any]) -> None:
    if different := sorted(own.keys() ^ found.keys()):
        raise UserError(f"{path} is of another network: layers {different[:3]} are in one only; make it again")
    for name, layer in own.items():
        weight, values = getattr(layer, "weight", None), found[name]
        numbers = values.channel_std if isinstance(values, LayerTrace) else _numbers(values)
        if weight is not None and len(numbers) not in (1, len(weight)):
            raise UserError(
                f"{path} is of another network: layer {name!r} has {len(numbers)} channels there and {len(weight)} "
                f"here; make it again, with the same --weights and --plan"
            )


def _numbers(values: LayerSensitivity | LayerTolerance) -> Sized:
    """One of a channel, or one of the whole layer."""
    return values.absolute if isinstance(values, LayerTolerance) else values.incoherent


def _require_same_weights(path: Path, layer: nn.Module, trace: LayerTrace) -> None:
    """The sum of all weights' sizes tells networks apart, whatever the order that the trace keeps them in."""
    weight = getattr(layer, "weight", None)
    if weight is None or trace.weight_grid is not None:
        return
    here, there = float(weight.detach().abs().sum()), float(abs(trace.weight).sum())
    if weight.numel() != trace.weight.size or not math.isclose(here, there, rel_tol=1e-4, abs_tol=1e-6):
        raise UserError(
            f"{path} is of another network: layer {trace.name!r} has other weights; make it again, with the same "
            f"--weights and --plan"
        )
