"""Rebuilds the networks of a run from what its stages left: a plan, weights, an assignment."""

from torch import nn

from approx import Arithmetic, Assignment, QuantisedNetwork, capture
from picojoule.history import load_matching, load_state
from picojoule.models import check_input, make_model
from picojoule.pipeline.lab import Lab
from picojoule.stages import StageResult
from pruning import Plan

WEIGHTS = "weights.safetensors"
PLAN = "plan.json"
ASSIGNMENT = "assignment.json"


def fresh(lab: Lab) -> nn.Module:
    """The configured network as its factory makes it, checked against the images."""
    model = make_model(lab.config.model.name, **lab.config.model.options)
    check_input(model, lab.splits.train.shape, name=lab.config.model.name)
    return model


def float_network(lab: Lab, stage: StageResult) -> nn.Module:
    """The network after "prepare" or "prune", in evaluation mode."""
    model = fresh(lab)
    if PLAN in stage.outputs:
        model = Plan.load(stage.path(PLAN)).apply(model)
    state, _ = load_state(stage.path(WEIGHTS))
    load_matching(model, state, str(stage.path(WEIGHTS)))
    return model.eval()


def quantised_network(
    lab: Lab, floating: StageResult, stage: StageResult, assignment: Assignment | None = None
) -> QuantisedNetwork:
    """The network after "quantise" or "retrain", in INTEGER arithmetic."""
    network = capture(float_network(lab, floating), lab.example)
    state, _ = load_state(stage.path(WEIGHTS))
    load_matching(network, state, str(stage.path(WEIGHTS)))
    if assignment is not None:
        network.assign(assignment, lab.library)
    return network.use(Arithmetic.INTEGER)
