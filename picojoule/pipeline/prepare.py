"""Stage "prepare": the trained floating-point network, loaded or trained here."""

from collections.abc import Mapping
from pathlib import Path

import torch

from approx import Recipe
from picojoule.data import data_folders
from picojoule.files import Json
from picojoule.models import load_weights, published_weights
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import fresh, save_network
from picojoule.stages import StageContext, StageResult, file_digest


def prepare(lab: Lab) -> StageResult:
    """Runs the stage."""
    config = lab.config
    weights = config.model.weights
    path: str | Path | None = weights
    if weights == "published":
        folders = data_folders(config.data.root)
        path = published_weights(config.model.name, folders, download=config.data.download)

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(config.seed)
        model = fresh(lab)
        losses: list[Json] = []
        if path is not None:
            load_weights(model, path)
        if config.train is not None:
            t = config.train
            recipe = Recipe(
                t.epochs, t.learning_rate, t.momentum, t.weight_decay, t.gradient_clip, warmup_steps=t.warmup_steps
            )
            losses = list(lab.train(context, model, recipe))
        save_network(context, model, ("prepare", {"weights": weights}))
        return {"losses": losses}

    configuration: dict[str, Json] = {
        "model": config.model.model_dump(mode="json"),
        "train": config.train and config.train.model_dump(mode="json"),
        "weights": None if path is None else file_digest(path),
    }
    return lab.stage("prepare", action, configuration, {}, ())
