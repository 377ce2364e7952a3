"""Stage "retrain": free correction of the chosen circuits' mean error, then training with the bit-exact forward."""

from collections.abc import Mapping

import torch

from approx import Recipe, accuracy, correct
from picojoule.data import Loader
from picojoule.files import Json, read_json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import ASSIGNMENT, load_network, load_quantised, save_network
from picojoule.stages import StageContext, StageResult


def retrain(lab: Lab, floating: StageResult, quantised: StageResult, selected: StageResult) -> StageResult:
    """Runs the stage; without a [retrain] section the network is only corrected."""
    config, data = lab.config.retrain, lab.config.data

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        network = load_quantised(lab, quantised, selected.path(ASSIGNMENT))
        correct(network, torch.cat(lab.batches(data.calibration_images)))
        validation = Loader(lab.splits.validation, data.evaluation_batch_size)
        values: dict[str, Json] = {"accuracy_validation_corrected": accuracy(network, validation)}
        if config is not None:
            network.use_gradient(config.half_window)
            recipe = Recipe(
                config.epochs,
                config.learning_rate,
                config.momentum,
                config.weight_decay,
                config.gradient_clip,
                config.temperature,
                config.distillation,
            )
            values["losses"] = list(lab.train(context, network, recipe, load_network(lab, floating)))
        values |= {"accuracy_validation": accuracy(network, validation), "retrained": config is not None}
        step = {"assignment": read_json(selected.path(ASSIGNMENT))}
        save_network(context, network, ("approximate", step), quantised)
        return values

    configuration: dict[str, Json] = {"retrain": config and config.model_dump(mode="json")}
    inputs = {"float": floating, "quantise": quantised, "select": selected}
    return lab.stage("retrain", action, configuration, inputs, ("multipliers",))
