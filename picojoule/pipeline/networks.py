"""The networks of a run: every checkpoint holds its history, so each is rebuilt from the factory and one file."""

import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from approx import Arithmetic, Assignment, QuantisedNetwork, capture
from picojoule.files import Json
from picojoule.history import History, load_checkpoint, load_state, save_checkpoint
from picojoule.models import make_model
from picojoule.pipeline.lab import Lab
from picojoule.stages import StageContext, StageResult
from pruning import Plan

WEIGHTS = "weights.safetensors"
EXACT = "exact.safetensors"
ASSIGNMENT = "assignment.json"


def fresh(lab: Lab) -> nn.Module:
    """The configured network as its factory makes it."""
    return make_model(lab.config.model.name, **lab.config.model.options)


def save_network(
    context: StageContext,
    model: nn.Module,
    step: tuple[str, dict[str, Json]],
    before: Path | None = None,
    file: str = WEIGHTS,
) -> None:
    """Saves a stage's network with its history.

    Args:
        context: of the stage.
        model: the network.
        step: what the stage did: name and parameters of the transformation.
        before: checkpoint of the network it started from.
        file: name of the checkpoint.
    """
    history = History() if before is None else load_state(before)[1]
    save_checkpoint(model, history.add(*step, model), context.outputs / file)


def load_network(lab: Lab, stage: StageResult, file: str = WEIGHTS) -> nn.Module:
    """A network a stage left, in evaluation mode; a quantised one in INTEGER arithmetic with its circuits."""
    model, _ = load_checkpoint(fresh(lab), stage.path(file), _transformations(lab))
    return model.use(Arithmetic.INTEGER) if isinstance(model, QuantisedNetwork) else model.eval()


def load_quantised(lab: Lab, stage: StageResult, file: str = WEIGHTS) -> QuantisedNetwork:
    """A quantised network a stage left."""
    return cast(QuantisedNetwork, load_network(lab, stage, file))


def _transformations(lab: Lab) -> dict[str, Any]:
    """What the steps of a history do to a network."""

    def prune(model: nn.Module, parameters: dict[str, Any]) -> nn.Module:
        return Plan.from_json(json.dumps(parameters["plan"])).apply(model)

    def approximate(model: QuantisedNetwork, parameters: dict[str, Any]) -> nn.Module:
        return model.assign(Assignment.from_json(parameters["assignment"]), lab.library)

    return {
        "prepare": lambda model, parameters: model,
        "prune": prune,
        "quantise": lambda model, parameters: capture(model, lab.example),
        "approximate": approximate,
        "retrain": lambda model, parameters: model,
    }
