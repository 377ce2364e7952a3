"""What selection judges circuits by: traces, and sensitivities or tolerances; from files, or measured here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

import approx
from approx import LayerTrace, load_traces
from noise_models import (
    Degradation,
    FisherDegradation,
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
    layers: dict[str, Iterable[str] | None] = {
        "traces": traces,
        "sensitivity": sensitivity.layers if sensitivity else None,
        "tolerance": tolerance.layers if tolerance else None,
    }
    _require_same_layers(place, {given[name]: layers[name] or () for name in given})
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


def _require_same_layers(place: Workplace, known: Mapping[Path, Iterable[str]]) -> None:
    example = torch.zeros(1, *place.splits.train.shape)
    own = set(approx.capture(place.network(), example).multiplying()) if known else set()
    for path, layers in known.items():
        if different := sorted(own ^ set(layers)):
            raise UserError(f"{path} is of another network: layers {different[:3]} are in one only; make it again")
