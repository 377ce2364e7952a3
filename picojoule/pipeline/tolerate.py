"""Stage "tolerate": what every layer sees, and how much error it bears."""

from collections.abc import Mapping

import torch
from safetensors.torch import load_file, save_file

from approx import LayerTrace, QuantisedNetwork, save_traces, trace
from noise_models import AgnSettings, Tolerance, learn_tolerance, measure_sensitivity
from picojoule.files import Json, atomic_path
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import load_quantised
from picojoule.progress import progress
from picojoule.stages import StageContext, StageResult

TRACES = "traces.safetensors"
TOLERANCE = "tolerance.json"
SENSITIVITY = "sensitivity.safetensors"


def tolerate(lab: Lab, quantised: StageResult) -> StageResult:
    """Runs the stage."""
    config, data = lab.config.tolerance, lab.config.data

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        network = load_quantised(lab, quantised)
        batches = lab.batches(data.calibration_images)
        traces = trace(network, batches, lab.config.select.patches)
        save_traces(traces, context.outputs / TRACES)
        if config.method == "fisher":
            images = lab.batches(config.images)
            with progress(context.name, len(images)) as step:
                sensitivity = measure_sensitivity(
                    network, images, seed=lab.config.seed, progress=lambda done, total, text: step()
                )
            sensitivity.save(context.outputs / SENSITIVITY)
            tolerance = sensitivity.tolerance(traces)
        else:
            tolerance = _learn(lab, context, network, traces)
        tolerance.save(context.outputs / TOLERANCE)
        return {"method": tolerance.method}

    configuration: dict[str, Json] = {
        "tolerance": config.model_dump(mode="json"),
        "patches": lab.config.select.patches,
    }
    return lab.stage("tolerate", action, configuration, {"quantise": quantised}, ("noise_models",))


def _learn(lab: Lab, context: StageContext, network: QuantisedNetwork, traces: Mapping[str, LayerTrace]) -> Tolerance:
    """The AGN search, going on from its checkpoint."""
    config, loader = lab.config.tolerance, lab.training()
    settings = AgnSettings(
        strength=config.lambda_,
        sigma_max=config.sigma_max,
        sigma_init=config.sigma_init,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        seed=lab.config.seed,
    )
    checkpoint = context.checkpoints / "agn.safetensors"
    state = load_file(checkpoint) if checkpoint.is_file() else None
    if state is not None:
        loader.set_epoch(len(state["history"]))

    def save(state: dict[str, torch.Tensor]) -> None:
        with atomic_path(checkpoint) as temporary:
            save_file(state, temporary)

    with progress(context.name, config.epochs * len(loader)) as step:
        result = learn_tolerance(
            network,
            loader,
            traces,
            settings,
            state=state,
            save=save,
            progress=lambda done, total, text: step(text),
        )
    return result.tolerance
