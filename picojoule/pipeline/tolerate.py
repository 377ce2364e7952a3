"""Stage "tolerate": what every layer sees, and how much error it bears."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from approx import LayerTrace, Operands, QuantisedNetwork, save_traces, trace
from noise_models import (
    AgnSettings,
    EnergyReward,
    Tolerance,
    ToleranceDegradation,
    error_model,
    foldings,
    learn_tolerance,
    list_candidates,
    measure_sensitivity,
)
from noise_models.agn import PUBLISHED
from picojoule.config import ToleranceConfig
from picojoule.files import Json, atomic_path
from picojoule.libraries import allowed
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import load_network, load_quantised
from picojoule.pipeline.savings import library_key
from picojoule.progress import progress
from picojoule.stages import StageContext, StageResult

TRACES = "traces.safetensors"
TOLERANCE = "tolerance.json"
SENSITIVITY = "sensitivity.safetensors"
SHORT = AgnSettings(sigma_init=0.05, epochs=3, learning_rate=1e-2, decay_every=0)


def tolerate(lab: Lab, floating: StageResult, quantised: StageResult) -> StageResult:
    """Runs the stage."""
    config, data = lab.config.tolerance, lab.config.data

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        network = load_quantised(lab, quantised)
        traces = trace(network, lab.batches(data.calibration_images), lab.config.select.patches)
        save_traces(traces, context.outputs / TRACES)
        if config.method == "fisher":
            tolerance = _measure(lab, context, network, traces)
        else:
            tolerance = _learn(lab, context, load_network(lab, floating), traces)
        tolerance.save(context.outputs / TOLERANCE)
        return {"method": tolerance.method}

    configuration: dict[str, Json] = {
        "tolerance": config.model_dump(mode="json"),
        "patches": lab.config.select.patches,
    }
    if config.method == "agn-energy":
        shared = lab.config.select.model_dump(mode="json", include={"circuits", "operands", "error_model"})
        configuration |= {"select": shared, "library": library_key(lab.library)}
    inputs = {"float": floating, "quantise": quantised}
    return lab.stage("tolerate", action, configuration, inputs, ("noise_models", "multipliers"))


def agn_settings(config: ToleranceConfig, seed: int) -> AgnSettings:
    """Hyper-parameters of the preset, those that the configuration gives in their place."""
    preset = SHORT if config.preset == "short" else PUBLISHED[config.preset].search
    given: dict[str, Any] = {
        "strength": config.lambda_,
        "sigma_max": config.sigma_max,
        "sigma_init": config.sigma_init,
        "epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "momentum": config.momentum,
        "decay_every": config.decay_every,
    }
    return replace(preset, seed=seed, **{key: value for key, value in given.items() if value is not None})


def _measure(lab: Lab, context: StageContext, network: QuantisedNetwork, traces: Mapping[str, LayerTrace]) -> Tolerance:
    """The gradient pass; its sensitivity is saved as well."""
    images = lab.batches(lab.config.tolerance.images)
    with progress(context.name, len(images)) as step:
        sensitivity = measure_sensitivity(
            network, images, seed=lab.config.seed, progress=lambda done, total, text: step()
        )
    sensitivity.save(context.outputs / SENSITIVITY)
    return sensitivity.tolerance(traces)


def _learn(lab: Lab, context: StageContext, model: nn.Module, traces: Mapping[str, LayerTrace]) -> Tolerance:
    """The AGN search, going on from its checkpoint."""
    settings, loader = agn_settings(lab.config.tolerance, lab.config.seed), lab.training()
    reward = _energy_reward(lab, model, traces) if lab.config.tolerance.method == "agn-energy" else None
    checkpoint = context.checkpoints / "agn.safetensors"
    state = load_file(checkpoint) if checkpoint.is_file() else None
    done = 0 if state is None else len(state["history"])
    loader.set_epoch(done)

    def save(state: dict[str, torch.Tensor]) -> None:
        with atomic_path(checkpoint) as temporary:
            save_file(state, temporary)

    with progress(context.name, (settings.epochs - done) * len(loader)) as step:
        result = learn_tolerance(
            model,
            loader,
            traces,
            settings,
            reward,
            state=state,
            save=save,
            progress=lambda done, total, text: step(text),
        )
    return result.tolerance


def _energy_reward(lab: Lab, model: nn.Module, traces: Mapping[str, LayerTrace]) -> EnergyReward:
    """What noise earns with the circuits and codings that [select] allows: multiplication energy alone."""
    config, folding = lab.config.select, foldings(model, traces)
    unit = Tolerance("unit", {}, {name: layer.tolerance(1.0) for name, layer in folding.items()})
    candidates = list_candidates(
        traces,
        allowed(lab.library, config.circuits),
        error_model(config.error_model),
        ToleranceDegradation(unit),
        [Operands(name) for name in config.operands],
    )
    return EnergyReward(candidates, folding)
