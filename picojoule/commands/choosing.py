"""The front of a network: every candidate predicted, circuits for every layer selected."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from approx import Operands
from deploy.hardware import Hardware
from deploy.workload import workloads_of_module
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
)
from picojoule.commands.basis import Basis
from picojoule.commands.workplace import Workplace
from picojoule.pipeline.select import HardwareEnergy, allowed
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
