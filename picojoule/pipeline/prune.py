"""Stage "prune": fewer channels, then fine-tuning with the unpruned network as the teacher."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch

import pruning
from approx import Recipe
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import WEIGHTS, load_network, save_network
from picojoule.stages import StageContext, StageResult

DISTILLATION = 0.5
PLAN = "plan.json"


def prune(lab: Lab, prepared: StageResult) -> StageResult:
    """Runs the stage; without a [prune] section the prepared network goes on unchanged."""
    config = lab.config.prune
    if config is None:
        return prepared

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        original = load_network(lab, prepared)
        images = lab.splits.calibration(min(config.images, len(lab.splits.train)), seed=lab.config.data.split_seed)
        needs_data = pruning.criterion(config.criterion).needs_data
        result = pruning.prune(
            original,
            lab.example,
            macs=config.macs,
            criterion=config.criterion,
            loader=list(Loader(images, lab.config.data.batch_size)) if needs_data else None,
            selector=config.selector,
            round_to=config.round_to,
            min_keep=config.min_keep,
            ignore=config.keep,
        )
        losses: list[Json] = []
        if config.fine_tune_epochs:
            recipe = Recipe(
                config.fine_tune_epochs,
                config.learning_rate,
                config.momentum,
                config.weight_decay,
                distillation=DISTILLATION,
            )
            losses = list(lab.train(context, result.model, recipe, original))
        result.plan.save(context.outputs / PLAN)
        step = {"plan": json.loads(result.plan.to_json()), **config.model_dump(mode="json")}
        save_network(context, result.model, ("prune", step), prepared.path(WEIGHTS))
        return {**_summary(result), "criterion": config.criterion, "losses": losses}

    return lab.stage("prune", action, {"prune": config.model_dump(mode="json")}, {"prepare": prepared}, ())


def _summary(result: pruning.PruneResult) -> dict[str, Json]:
    return {
        "macs_before": result.macs_before,
        "macs_after": result.macs_after,
        "params_before": result.params_before,
        "params_after": result.params_after,
        "max_difference": result.max_difference,
        "kept": {name: list(counts) for name, counts in result.kept.items()},
        "frozen": [cast(Json, {k: str(v) for k, v in asdict(cast(Any, f)).items()}) for f in result.frozen],
    }
