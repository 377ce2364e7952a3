"""Stage "quantise": the 8-bit network, calibrated on training images: for the circuits to come, and for exact ones."""

import copy
from collections.abc import Mapping

import torch

from approx import Recipe, accuracy, capture
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import EXACT, WEIGHTS, load_network, save_network
from picojoule.stages import StageContext, StageResult


def quantise(lab: Lab, floating: StageResult) -> StageResult:
    """Runs the stage."""
    config, data = lab.config.quantise, lab.config.data
    count = config.calibration_images or data.calibration_images

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        model = load_network(lab, floating)
        network = capture(model, lab.example).calibrate(lab.batches(count), config.resolution)
        losses: list[Json] = []
        if config.fine_tune_epochs:
            recipe = Recipe(config.fine_tune_epochs, config.learning_rate)
            losses = list(lab.train(context, network, recipe, model))
        validation = Loader(lab.splits.validation, data.evaluation_batch_size)
        step = ("quantise", config.model_dump(mode="json"))
        save_network(context, network, step, floating.path(WEIGHTS))
        exact = copy.deepcopy(network).calibrate(lab.batches(count))
        save_network(context, exact, step, floating.path(WEIGHTS), EXACT)
        return {"accuracy_validation": accuracy(exact, validation), "losses": losses}

    return lab.stage("quantise", action, config.model_dump(mode="json"), {"float": floating}, ())
