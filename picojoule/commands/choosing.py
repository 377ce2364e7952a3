"""The front of a network: every candidate predicted, circuits for every layer selected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from approx import Assignment, Choice, Operands
from deploy.hardware import Hardware
from deploy.workload import workloads_of_module
from multipliers import Library
from noise_models import (
    SELECTORS,
    Evolution,
    Front,
    Limits,
    Selection,
    error_model,
    list_candidates,
    uniform,
    with_channel_choices,
    without_drowned,
)
from picojoule.commands.basis import Basis
from picojoule.commands.workplace import Workplace
from picojoule.errors import UserError, did_you_mean
from picojoule.libraries import allowed
from picojoule.pipeline.select import HardwareEnergy
from picojoule.progress import progress
from picojoule.verbs import DEFAULT_HARDWARE


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
        ValueError: nothing keeps the limits, or a pin or a pattern fits nothing.
    """
    config, traces = place.config.select, basis.traces
    workloads = workloads_of_module(place.network(), place.splits.train.shape)
    hardware = Hardware.load(place.config.energy.hardware or DEFAULT_HARDWARE)
    operands = [Operands(name) for name in config.operands]
    circuits = allowed(place.library, config.circuits)
    _check_pins(limits, traces, circuits)
    torch.manual_seed(place.config.seed)
    with progress("predict", len(traces) * len(operands)) as step:
        single = list_candidates(
            traces,
            circuits,
            error_model(config.error_model),
            basis.degradation,
            operands,
            HardwareEnergy(workloads, hardware) if config.cost == "hardware" else None,
            lambda done, total, name: step(name),
            config.tune,
        )
    mixed = heard = without_drowned(single, traces, limits)
    if circuits_per_layer is not None:
        mixed = with_channel_choices(heard, basis.degradation, circuits=circuits_per_layer)
    evolution = Evolution(config.evaluations, seed=place.config.seed)
    front = SELECTORS[config.method](Selection(mixed, limits, basis.tolerance, evolution))
    return Fronts(front, uniform(without_drowned(single, traces)), {w.name: w.macs for w in workloads})


def _check_pins(limits: Limits, layers: Iterable[str], circuits: Library) -> None:
    """Refuses pins that fit nothing, before circuits are predicted."""
    try:
        Assignment({pattern: Choice(pattern) for pattern in limits.pins}).resolve(layers)
    except ValueError as error:
        raise UserError(f"pins: {error}") from error
    for layer, pin in limits.pins.items():
        names = [pin] if isinstance(pin, str) else pin.circuits
        for name in (name for name in names if name not in circuits):
            exact = ", ".join(n for n, circuit in circuits.items() if circuit.is_exact) or "none"
            hint = did_you_mean(name, circuits).partition("; known")[0]
            raise UserError(f"pin {layer}={name}: not among the {len(circuits)} circuits{hint} (exact: {exact})")
