"""Stage "retrain": free correction of the chosen circuits' mean error, then training with the bit-exact forward."""

import copy
from collections.abc import Mapping

import torch

from approx import Assignment, Recipe, accuracy, correct
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.history import History, save_checkpoint
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import ASSIGNMENT, WEIGHTS, float_network, quantised_network
from picojoule.stages import Stage, StageContext, StageResult, run_stage


def retrain(lab: Lab, floating: StageResult, quantised: StageResult, selected: StageResult) -> StageResult:
    """Runs the stage; without a [retrain] section the network is only corrected.

    Retraining that makes validation worse is thrown away.
    """
    config, data = lab.config.retrain, lab.config.data

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        assignment = Assignment.load(selected.path(ASSIGNMENT))
        network = quantised_network(lab, floating, quantised, assignment)
        correct(network, torch.cat(lab.batches(data.calibration_images)))
        validation = Loader(lab.splits.validation, data.evaluation_batch_size)
        before, corrected = accuracy(network, validation), copy.deepcopy(network.state_dict())
        values: dict[str, Json] = {"accuracy_validation_corrected": before}
        if config is not None:
            recipe = Recipe(
                config.epochs,
                config.learning_rate,
                config.momentum,
                config.weight_decay,
                config.gradient_clip,
                config.temperature,
                config.distillation,
            )
            values["losses"] = list(lab.train(context, network, recipe, float_network(lab, floating)))
        after = accuracy(network, validation)
        if after < before:
            network.load_state_dict(corrected)
        values |= {"accuracy_validation": max(before, after), "retrained": config is not None and after >= before}
        history = History().add("approximate", {"assignment": assignment.to_json()}, network)
        save_checkpoint(network, history, context.outputs / WEIGHTS)
        return values

    configuration = {
        "seed": lab.config.seed,
        "calibration_images": data.calibration_images,
        "batch_size": data.batch_size,
        "retrain": config and config.model_dump(mode="json"),
    }
    inputs = {"float": floating.digest, "quantise": quantised.digest, "select": selected.digest}
    code = ("approx", "picojoule.pipeline.retrain")
    return run_stage(lab.run, Stage("retrain", action, configuration, inputs, code))
