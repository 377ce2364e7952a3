"""What the MODEL argument of a command can be: a network by name, a run folder, or an integer program."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import approx
from approx import Assignment
from deploy.build import build
from deploy.energy import EnergyReport, account, account_assignment, circuits_of_program
from deploy.hardware import Hardware
from deploy.program import Program
from deploy.program_file import load_program
from deploy.workload import workloads_of_program
from multipliers import Library
from picojoule.config import DataConfig
from picojoule.data import data_folders, load_data
from picojoule.errors import UserError
from picojoule.models import check_input, load_weights, make_model, model_entry, published_weights
from picojoule.pipeline.deploy import PROGRAM
from picojoule.verbs import DEFAULT_HARDWARE, energy
from pruning import Plan


def find_program(model: str) -> Path | None:
    """The integer program that `model` names: its file, or that of a finished run; None for anything else.

    Raises:
        UserError: a folder without a finished program.
    """
    path = Path(model)
    if model_entry(model) is None and path.is_dir():
        program = path / "deploy" / PROGRAM
        if not program.is_file():
            raise UserError(f"{path}: no finished run (deploy/{PROGRAM} is missing); {_remedy(path)}")
        return program
    return path if path.suffix == ".safetensors" else None


def _remedy(folder: Path) -> str:
    weights, plan = folder / "prune" / "weights.safetensors", folder / "prune" / "plan.json"
    if weights.is_file() and plan.is_file():
        return f"it holds a pruned network: give the name of the model, --weights {weights} --plan {plan}"
    return "finish it with `picojoule run` or `retrain`"


def open_float(model: str, weights: str | None, plan: Path | None, root: str | None = None) -> nn.Module:
    """A floating-point network by name, pruned by a plan, with weights from a file or the published ones.

    Args:
        model: registered name, torchvision classifier, or "package.module:factory".
        weights: file, "published", or None for fresh weights (enough for energy).
        plan: written by `picojoule.prune(...).plan.save`; the weights are those of the pruned network.
        root: data root, where published weights are looked for.

    Raises:
        ValueError: weights or plan do not fit.
    """
    network = make_model(model)
    if plan is not None:
        network = Plan.load(plan).apply(network)
    if weights is not None:
        file = published_weights(model, data_folders(root)) if weights == "published" else Path(weights)
        beside = file.with_name("plan.json")
        try:
            load_weights(network, file)
        except ValueError as error:
            if plan is None and beside.is_file():
                raise UserError(f"{file} holds the weights of a pruned {model}; give --plan {beside}") from error
            raise
    return network.eval()


def input_shape_of(model: str, given: str | None) -> tuple[int, ...]:
    """(C, H, W) from "3,32,32" or from the registry.

    Raises:
        UserError: neither is there.
    """
    if given is not None:
        try:
            return tuple(int(part) for part in given.replace("x", ",").split(","))
        except ValueError as error:
            raise UserError(f"--input-shape: expected numbers such as 3,32,32, got {given!r}") from error
    entry = model_entry(model)
    if entry is None:
        raise UserError(f"model {model!r}: its image size is not known; give --input-shape 3,224,224")
    return entry.input_shape


def calibration_batches(data: DataConfig, network: nn.Module, name: str) -> list[torch.Tensor]:
    """Training images [n, C, H, W] that fit the network."""
    splits = load_data(data)
    check_input(network, splits.train.shape, name=name)
    return splits.calibration_batches(data.calibration_images, data.evaluation_batch_size, seed=data.split_seed)


@dataclass(frozen=True)
class Candidate:
    """A network to compile: MODEL and the options that complete it.

    Attributes:
        model: program file, run folder, or model name.
        weights, plan, assignment: for a model name.
        library: where the assignment's circuits are.
    """

    model: str
    weights: str | None
    plan: Path | None
    assignment: Assignment | None
    library: Library


def open_program(candidate: Candidate, data: DataConfig | None) -> Program:
    """The integer program: read, or made from the network without training (quantise, assign, tune, build).

    Raises:
        UserError: options that do not go together; data or weights are missing.
    """
    path = find_program(candidate.model)
    options = (candidate.weights, candidate.plan, candidate.assignment, data)
    if path is not None:
        if any(option is not None for option in options):
            raise UserError(f"{path} is complete; leave out --weights, --plan, --assignment and --data")
        return load_program(path)
    if data is None or candidate.weights is None:
        raise UserError(
            f"model {candidate.model!r}: compiling needs --weights FILE and --data NAME (calibration images), "
            "or a finished run's folder as MODEL"
        )
    network = open_float(candidate.model, candidate.weights, candidate.plan, data.root)
    batches = calibration_batches(data, network, candidate.model)
    quantised = approx.quantise(network, batches)
    if candidate.assignment is not None:
        approx.tune(quantised.assign(candidate.assignment, candidate.library), torch.cat(batches))
    return build(quantised, candidate.model)


def energy_report(
    model: str, assignment: Assignment | None, library: Library, options: tuple[Path | None, str | None, str | None]
) -> EnergyReport:
    """Energy of MODEL with an assignment.

    Args:
        model: program file, run folder (its own assignment where none is given), or model name.
        assignment: circuits by layer; None: exact everywhere, for a model name.
        library: where the circuits are.
        options: pruning plan, "C,H,W" of an image, hardware; None where not given.
    """
    plan, shape, hardware = options
    path = find_program(model)
    if path is None:
        network = open_float(model, None, plan)
        return energy(network, assignment or Assignment(), input_shape_of(model, shape), library, hardware)
    if plan is not None or shape is not None:
        raise UserError(f"{path} is complete; leave out --plan and --input-shape")
    program = load_program(path)
    device = Hardware.load(hardware or DEFAULT_HARDWARE)
    workloads = workloads_of_program(program)
    if assignment is None:
        return account(workloads, circuits_of_program(program, library), device)
    return account_assignment(workloads, assignment, library, device)
