"""Candidates: every way to run a layer, with its energy and its predicted degradation. What selection chooses from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch

from approx import Choice, LayerChoice, LayerTable, LayerTrace, Operands, layer_table
from approx.weight_map import mapped
from multipliers import Multiplier
from noise_models.degradation import Degradation
from noise_models.error_models import ErrorModel
from noise_models.prediction import ErrorPrediction, FloatArray
from noise_models.progress import Progress

Cost = Callable[[LayerTrace, Choice, Multiplier], float]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to run one layer.

    Attributes:
        choice: circuit or circuits, weight coding and operand order.
        energy: of the layer, in units of the cost function; adds up over layers.
        degradation: predicted; adds up over layers.
        prediction: the error it comes from.
        area_um2: of one such circuit, um^2, or None when unknown or when the layer uses several.
        bits: of the activations the layer reads; see `noise_models.joint`.
        kept: share of the channels that pruning leaves to the layer's group; see there.
    """

    choice: LayerChoice
    energy: float
    degradation: float
    prediction: ErrorPrediction
    area_um2: float | None = None
    bits: int = 8
    kept: float = 1.0


Candidates = Mapping[str, Sequence[Candidate]]


class Judged(Protocol):
    """What has an energy and a degradation: a candidate of a layer, a point of a group of layers."""

    @property
    def energy(self) -> float: ...

    @property
    def degradation(self) -> float: ...


Option = TypeVar("Option", bound=Judged)


class MultiplicationEnergy:
    """The default cost: the layer's share of all multiplications times the circuit's relative energy.

    The sum over layers is the network's multiplication energy relative to exact circuits of the same signedness; sign
    logic, wider weights, accumulation and memory are not in it.
    """

    def __init__(self, traces: Mapping[str, LayerTrace]) -> None:
        self.macs = sum(trace.macs for trace in traces.values())

    def __call__(self, trace: LayerTrace, choice: Choice, multiplier: Multiplier) -> float:
        return trace.macs / self.macs * multiplier.energy_relative


def list_candidates(
    traces: Mapping[str, LayerTrace],
    library: Mapping[str, Multiplier],
    model: ErrorModel,
    degradation: Degradation,
    operands: Iterable[Operands] = tuple(Operands),
    cost: Cost | None = None,
    progress: Progress | None = None,
    tuned: bool = False,
) -> dict[str, list[Candidate]]:
    """Every layer with every circuit, weight coding and operand order that fit together.

    Circuits of the wrong signedness for a coding are left out, and so is the exchanged order of a symmetric circuit.

    Args:
        traces: by layer name, in execution order.
        library: 8x8 circuits.
        model: predicts each circuit's error.
        degradation: judges it.
        operands: weight codings allowed.
        cost: energy of a layer with a choice; `MultiplicationEnergy` when None.
        progress: called with (layer and coding pairs done, of how many, layer name).
        tuned: the network's weights will be tuned for their circuits (`approx.tune`); the error is then predicted for
            weights moved by `approx.weight_map`, which foretells a good part of what tuning gains. Second activations
            stay.

    Returns:
        Layer name -> candidates, cheapest first, dominated ones included (the reference methods need them;
        `undominated` leaves them out).

    Raises:
        ValueError: there is no layer or no circuit that fits, a circuit is not 8x8, or a cost is negative or NaN.
    """
    if not traces:
        raise ValueError("there are no layers to choose circuits for; trace the network first")
    operands, cost = tuple(operands), cost or MultiplicationEnergy(traces)
    ways = {coding: tuple(_ways(library, coding)) for coding in operands}
    if not any(ways.values()):
        raise ValueError(
            f"none of the {len(library)} circuits fits operands {[o.value for o in operands]}; sign-magnitude and "
            f"affine take unsigned circuits, signed takes signed ones"
        )
    table: dict[str, list[Candidate]] = {}
    with _one_thread():
        for row, (name, trace) in enumerate(traces.items()):
            found: list[Candidate] = []
            codes = trace.code_histogram if tuned and trace.weight_grid is None else None
            for column, coding in enumerate(operands):
                for multiplier, choice in ways[coding]:
                    prediction = _predict(trace, layer_table(multiplier, coding, choice.swap), coding, model, codes)
                    energy = _checked(cost(trace, choice, multiplier), name, choice)
                    judged = degradation.of(name, prediction)
                    found.append(Candidate(choice, energy, judged, prediction, multiplier.area_um2))
                if progress is not None:
                    progress(row * len(operands) + column + 1, len(traces) * len(operands), name)
            table[name] = sorted(found, key=lambda c: (c.energy, c.degradation))
    return table


def undominated(candidates: Sequence[Option]) -> list[Option]:
    """The candidates of one layer that no other equals or beats in both energy and degradation, cheapest first."""
    kept: list[Option] = []
    for candidate in sorted(candidates, key=lambda c: (c.energy, c.degradation)):
        if not kept or candidate.degradation < kept[-1].degradation:
            kept.append(candidate)
    return kept


@contextmanager
def _one_thread() -> Iterator[None]:
    """One prediction takes a millisecond or so, too little to share: on a busy machine (load 6 on 2 cores) threads that
    wait for each other made the same list take over six times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ways(library: Mapping[str, Multiplier], coding: Operands) -> Iterator[tuple[Multiplier, Choice]]:
    for name, multiplier in library.items():
        if (multiplier.width_a, multiplier.width_b) != (8, 8):
            widths = f"{multiplier.width_a}x{multiplier.width_b}"
            raise ValueError(f"multiplier {name!r} is {widths} bits wide, candidates are 8x8: filter the library")
        if multiplier.signed == coding.signed_circuit:
            yield multiplier, Choice(name, coding, False)
            if not np.array_equal(multiplier.table, multiplier.table.T):
                yield multiplier, Choice(name, coding, True)


def _predict(
    trace: LayerTrace, table: LayerTable, coding: Operands, model: ErrorModel, codes: FloatArray | None
) -> ErrorPrediction:
    """With the shares of codes [256], for weights moved to where the table errs less."""
    if table.exact:
        return ErrorPrediction.none(trace.channels)
    return model.predict(trace, coding, table if codes is None else mapped(table, codes))


def _checked(energy: float, layer: str, choice: Choice) -> float:
    if not 0 <= energy < float("inf"):
        raise ValueError(
            f"layer {layer!r}, multiplier {choice.multiplier!r}: the energy must be finite and >= 0, got {energy}"
        )
    return energy
