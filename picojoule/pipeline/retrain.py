"""Stage "retrain": training of the chosen network with the bit-exact forward."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from approx import RETRAINING_RATES, Divergence, Recipe, Trainer, accuracy
from picojoule.config import RetrainConfig
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import load_network, load_quantised, save_network
from picojoule.pipeline.select import chosen_file
from picojoule.stages import StageContext, StageResult


def retrain(lab: Lab, floating: StageResult, selected: StageResult) -> StageResult:
    """Runs the stage; without a [retrain] section the network stays as selection left it."""
    config, data = lab.config.retrain, lab.config.data

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        network = load_quantised(lab, selected, chosen_file(selected))
        validation = Loader(lab.splits.validation, data.evaluation_batch_size)
        values: dict[str, Json] = {"accuracy_validation_before": accuracy(network, validation)}
        if config is not None:
            network.use_gradient(config.gradient)
            teacher = load_network(lab, floating)
            trainer = Trainer(
                network, recipe_of(config, lab.config.seed), teacher, _score(config.validation, teacher, validation)
            )
            lab.finish(context, trainer, lab.training(config.magnitude, config.cutout))
            values |= {"losses": [*trainer.losses], "scores": _scores(trainer)}
        values |= {"accuracy_validation": accuracy(network, validation), "retrained": config is not None}
        step = {} if config is None else config.model_dump(mode="json")
        save_network(context, network, ("retrain", step), selected.path(chosen_file(selected)))
        return values

    configuration: dict[str, Json] = {"retrain": config and config.model_dump(mode="json")}
    inputs = {"float": floating, "select": selected}
    return lab.stage("retrain", action, configuration, inputs, ("multipliers",))


def recipe_of(config: RetrainConfig, seed: int) -> Recipe:
    """The training recipe of a [retrain] section."""
    return Recipe(
        epochs=config.epochs,
        learning_rate=config.learning_rate or RETRAINING_RATES[config.optimiser],
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip=config.gradient_clip,
        temperature=config.temperature,
        distillation=config.distillation,
        warmup_steps=config.warmup_steps,
        ema=config.ema,
        mixup=config.mixup,
        patience=config.patience,
        validate_every=config.validate_every,
        seed=seed,
        optimiser=config.optimiser,
    )


def _score(measure: str | None, teacher: nn.Module, validation: Loader) -> Callable[[nn.Module], float] | None:
    """What chooses the weights that are kept; higher is better."""
    if measure is None:
        return None
    if measure == "accuracy":
        return lambda network: accuracy(network, validation)
    divergence = Divergence(teacher, validation)
    return lambda network: -divergence(network)


def _scores(trainer: Trainer) -> list[Json]:
    """(steps done, score) of every validation."""
    return [] if trainer.best is None else [list(pair) for pair in trainer.best.scores]
