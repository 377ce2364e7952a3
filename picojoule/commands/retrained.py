"""What `retrain` does, stage by stage in a run folder: each is done once, and a killed one goes on.

prepare, quantise, retrain are the stages of a run; select is the assignment that was given, its weights tuned; deploy
is the integer program alone, so that `picojoule compile` takes the folder; measure reads the test set.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import torch

import approx
from approx import Assignment, Reference
from deploy.build import build
from deploy.program_file import load_program, save_program
from picojoule.commands.workplace import Workplace
from picojoule.data import Loader
from picojoule.errors import UserError
from picojoule.files import Json, write_json
from picojoule.pipeline.deploy import PROGRAM
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.measure import executor
from picojoule.pipeline.networks import ASSIGNMENT, EXACT, WEIGHTS, load_quantised, save_network
from picojoule.pipeline.quantise import quantise
from picojoule.pipeline.retrain import retrain
from picojoule.pipeline.savings import library_key
from picojoule.pipeline.search import fit_to
from picojoule.pipeline.select import POINT_WEIGHTS
from picojoule.stages import StageContext, StageResult

NAME = "retrain"


def check_retrain_folder(folder: Path) -> None:
    """Refuses the folder of another command's run, whose stages would be replaced.

    Raises:
        UserError: it is one.
    """
    file = folder / "config.toml"
    if file.is_file() and tomllib.loads(file.read_text(encoding="utf-8")).get("name") != NAME:
        raise UserError(f"{folder} holds another run; choose another folder")


def train_assigned(place: Workplace, assignment: Assignment, out: Path, test: bool) -> dict[str, Json]:
    """Runs the stages.

    Args:
        place: network, images, circuits and [retrain].
        assignment: circuits by layer.
        out: run folder.
        test: also measure exact and retrained network on the test images.

    Returns:
        Accuracies, shares of the images they name, and files.
    """
    fresh = approx.capture(place.network(), torch.zeros(1, *place.splits.train.shape))
    assignment.circuits(fresh.multiplying(), place.library)  # refuses a wrong one before anything is written
    with place.lab(out) as lab:
        floating = place.prepared(lab)
        quantised = quantise(lab, floating)
        assigned = _assign(lab, quantised, assignment)
        retrained = retrain(lab, floating, assigned)
        refusal = _refusal(lab, assigned)
        program = None if refusal else _program(lab, retrained)
        values: dict[str, Json] = {
            "validation_images": len(place.splits.validation),
            "accuracy_exact": quantised.values["accuracy_validation"],
            "accuracy_before": retrained.values["accuracy_validation_before"],
            "accuracy_after": retrained.values["accuracy_validation"],
            "losses": retrained.values["losses"],
            "checkpoint": str(retrained.path(WEIGHTS)),
            "program": None if program is None else str(program.path(PROGRAM)),
            "no_program_because": refusal,
        }
        if test:
            values |= _test(lab, quantised, retrained, program).values
        write_json(lab.run.path / "results.json", values)
    return values


def _assign(lab: Lab, quantised: StageResult, assignment: Assignment) -> StageResult:
    """Stage "select": the circuits given, the weights tuned for them."""
    names = {name for choice in assignment.layers.values() for name in choice.circuits}
    circuits = {name: circuit for name, circuit in lab.library.items() if name in names}

    def action(context: StageContext) -> Mapping[str, Json]:
        network = load_quantised(lab, quantised).assign(assignment, lab.library)
        images = torch.cat(lab.batches(lab.config.data.calibration_images))
        reference = Reference.of(load_quantised(lab, quantised, EXACT), images)
        fit_to(reference, network, images, lab.config.select.tune)
        write_json(context.outputs / ASSIGNMENT, assignment.to_json())
        step: dict[str, Json] = {"assignment": assignment.to_json()}
        save_network(context, network, ("approximate", step), quantised.path(WEIGHTS), POINT_WEIGHTS.format(0))
        return {"chosen": 0}

    configuration: dict[str, Json] = {
        "assignment": assignment.to_json(),
        "library": library_key(circuits),
        "tune": lab.config.select.tune,
        "images": lab.config.data.calibration_images,
    }
    code = ("multipliers", "picojoule.pipeline.search", __name__)
    return lab.stage("select", action, configuration, {"quantise": quantised}, code)


def _refusal(lab: Lab, assigned: StageResult) -> str | None:
    """Why there is no integer program of such a network, where there is none: it may be trained all the same."""
    try:
        build(load_quantised(lab, assigned, POINT_WEIGHTS.format(0)))
    except ValueError as error:
        return str(error)
    return None


def _program(lab: Lab, retrained: StageResult) -> StageResult:
    """Stage "deploy": the integer program."""

    def action(context: StageContext) -> Mapping[str, Json]:
        save_program(build(load_quantised(lab, retrained), lab.config.model.name), context.outputs / PROGRAM)
        return {}

    return lab.stage("deploy", action, {}, {"retrain": retrained}, ("deploy", "multipliers", __name__))


def _test(lab: Lab, quantised: StageResult, retrained: StageResult, program: StageResult | None) -> StageResult:
    """Stage "measure": the test set, looked at once for each result."""

    def action(context: StageContext) -> Mapping[str, Json]:
        images = Loader(lab.splits.test, lab.config.data.evaluation_batch_size)
        exact, after = load_quantised(lab, quantised, EXACT), load_quantised(lab, retrained)
        return {
            "test_images": len(lab.splits.test),
            "test_accuracy_exact": approx.accuracy(executor(build(exact)) if program else exact, images),
            "test_accuracy_after": approx.accuracy(
                executor(load_program(program.path(PROGRAM))) if program else after, images
            ),
        }

    inputs = {"quantise": quantised, "retrain": retrained} | ({"deploy": program} if program else {})
    return lab.stage("measure", action, {}, inputs, ("deploy", "multipliers", __name__))
