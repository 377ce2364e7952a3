"""The verbs, each usable alone on your own `nn.Module` and `DataLoader`.

    front = picojoule.select(model, loader)                         # which circuit where: the whole front
    network = picojoule.approximate(model, front.cheapest(0.01).assignment, loader)
    picojoule.retrain(network, loader)
    picojoule.compile(network, "cortex-m4", "out")
    report = picojoule.energy(model, assignment, (3, 32, 32))

A loader yields images [N, C, H, W], or tuples that begin with them.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

import approx
import noise_models
from approx import Assignment, LayerTrace, Operands, QuantisedNetwork
from deploy.build import build
from deploy.energy import EnergyReport, account_assignment
from deploy.hardware import Hardware
from deploy.program import Program
from deploy.targets import target as find_target
from deploy.targets.base import Artifact
from deploy.tvm_backend import compile_tvm
from deploy.workload import workloads_of_module, workloads_of_program
from picojoule.arguments import Circuits, circuits_of, require
from pruning import prune as prune

CALIBRATION_BATCHES = 4
RETRAINING = approx.Recipe(optimiser="channel-adam", learning_rate=approx.RETRAINING_RATES["channel-adam"])
DEFAULT_HARDWARE = "generic_45nm"
TVM_MACHINES = {"aarch64": "aarch64", "x86-64": "x86-64-v3"}


def images_of(loader: Iterable[Any], batches: int | None = None) -> Iterator[torch.Tensor]:
    """The images float32 [N, C, H, W] of a loader's batches, on the CPU.

    Raises:
        ValueError: a batch is neither a tensor nor a tuple that begins with one, or has no images.
    """
    for batch in islice(loader, batches):
        images = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(images, torch.Tensor):
            raise ValueError(f"a loader must yield images or (images, labels, ...), got {type(batch).__name__}")
        if not images.numel():
            raise ValueError(f"a loader yielded a batch without images, of shape {tuple(images.shape)}")
        yield images.detach().cpu().float()


def quantise(
    model: nn.Module, loader: Iterable[Any], bits: int | Mapping[str, int] = 8, resolution: int = 8
) -> QuantisedNetwork:
    """The exact quantised network, calibrated on a few batches; `bits` and `resolution` as in `approx.quantise`."""
    return approx.quantise(model, images_of(loader, CALIBRATION_BATCHES), bits, resolution)


def as_network(model: nn.Module, loader: Iterable[Any]) -> QuantisedNetwork:
    """The model itself where it is quantised already, otherwise `quantise(model, loader)`."""
    return model if isinstance(model, QuantisedNetwork) else quantise(model, loader)


def trace(model: nn.Module, loader: Iterable[Any]) -> dict[str, LayerTrace]:
    """What every layer sees on calibration data; see `approx.trace`."""
    loader = list(islice(loader, CALIBRATION_BATCHES))
    return approx.trace(as_network(model, loader), images_of(loader))


def select(
    model: nn.Module,
    loader: Iterable[Any],
    library: Circuits = None,
    operands: str | Iterable[str] = ("sign-magnitude", "affine"),
    limits: noise_models.Limits | None = None,
) -> noise_models.Front:
    """The whole energy/degradation front: one multiplier per layer at every point.

    Args:
        model: the user's network, or a quantised one.
        loader: training images; a few batches are enough.
        library: circuits to choose from, or the name of a library; absent: the generated ones.
        operands: how circuits may be used (`approx.Operands`).
        limits: what every point keeps: number and area of circuits, pinned layers, energy, degradation.

    Returns:
        the front, without any training; its degradation is the predicted increase of the loss.

    Raises:
        ValueError: nothing keeps the limits; says the nearest that something does.
    """
    limits, circuits = noise_models.Limits() if limits is None else limits, circuits_of(library)
    require(limits, noise_models.Limits, "limits", "noise_models.Limits(degradation=0.01, circuits=4)")
    codings = [Operands(name) for name in ([operands] if isinstance(operands, str) else operands)]
    loader = list(islice(loader, CALIBRATION_BATCHES))
    network, images = as_network(model, loader), list(images_of(loader))
    traces = approx.trace(network, images)
    candidates = noise_models.list_candidates(
        traces,
        circuits,
        noise_models.error_model("patch-channel"),
        noise_models.FisherDegradation(noise_models.measure_sensitivity(network, images)),
        codings,
        tuned=True,
    )
    heard = noise_models.without_drowned(candidates, traces, limits)
    return noise_models.SELECTORS["knapsack"](noise_models.Selection(heard, limits))


def approximate(
    model: nn.Module,
    assignment: Assignment,
    loader: Iterable[Any],
    library: Circuits = None,
) -> QuantisedNetwork:
    """The network with these circuits, its weights tuned for them; forward is bit-exact, the device's cost the same.

    Args:
        model: the user's network, or a quantised one (which is not changed).
        assignment: circuits by layer.
        loader: training images.
        library: where the circuits are, or its name; absent: the generated ones.

    Raises:
        ValueError: a layer or circuit does not exist or does not fit.
    """
    _require_assignment(assignment)
    circuits, loader = circuits_of(library, assignment), list(islice(loader, CALIBRATION_BATCHES))
    network = copy.deepcopy(model) if isinstance(model, QuantisedNetwork) else quantise(model, loader)
    network.assign(assignment, circuits)
    return approx.tune(network, torch.cat(list(images_of(loader))))


def retrain(
    network: QuantisedNetwork,
    loader: Iterable[Any],
    recipe: approx.Recipe | None = None,
    teacher: nn.Module | None = None,
    gradient: approx.Gradient = "line",
    score: Callable[[nn.Module], float] | None = None,
) -> QuantisedNetwork:
    """Train with the bit-exact forward; in place, returned.

    Args:
        network: from `approximate`.
        loader: training batches (images, labels), iterated once per epoch.
        recipe: how; absent: one epoch of channel-adam.
        teacher: distil from this network (the float model, say).
        gradient: of the products: "line", of the lines nearest to the table; "straight", of the exact product; 0..125,
            smoothed differences of the table, the half window of the smoothing.
        score: of a network on validation images, higher is better, such as
            `lambda network: approx.accuracy(network, validation)`; the best weights are kept. Absent: the last are.

    Raises:
        ValueError: the network is not quantised, gradient or a label is out of range, the recipe needs a teacher or
            a score that is not there, or the loss is not finite.
    """
    _require_quantised(network)
    network.use_gradient(gradient)
    network.use(approx.Arithmetic.INTEGER)
    for _ in approx.Trainer(network, recipe or RETRAINING, teacher, score).run(loader):
        pass
    return network


def compile(network: QuantisedNetwork | Program, target: str, out: str | Path) -> Artifact:
    """Build a network for a device: portable C for all of them, and a TVM library where the device runs Linux.

    Args:
        network: quantised, exact or approximate; or its integer program.
        target: "cortex-m4", "aarch64", "x86-64".
        out: folder that receives sources, binaries and golden vectors; an earlier build in it is replaced.

    Raises:
        ValueError: unknown target; `out` holds other files; the network is not quantised or does not fit.
    """
    program = network if isinstance(network, Program) else build(_require_quantised(network))
    device = find_target(target)
    module = compile_tvm(program, TVM_MACHINES[target]) if target in TVM_MACHINES else None
    artifact = device.build(program, Path(out))
    if module is None:
        return artifact
    library = module.export(artifact.folder / "program_tvm.so")
    return replace(artifact, files=tuple(sorted((*artifact.files, library.name))))


def energy(
    model: nn.Module | QuantisedNetwork,
    assignment: Assignment,
    input_shape: tuple[int, ...] | None = None,
    library: Circuits = None,
    hardware: str | Hardware | None = None,
) -> EnergyReport:
    """Energy of a candidate configuration; no training, no data.

    Args:
        model: the user's network or a quantised one.
        assignment: circuits by layer; layers it does not name multiply exactly.
        input_shape: (C, H, W); not needed for a quantised network.
        library: where the circuits are, or its name; absent: the generated ones.
        hardware: name or path of a description; absent: the default one.

    Raises:
        ValueError: the assignment names a layer or circuit that does not exist; the model cannot be exported.
    """
    _require_assignment(assignment)
    if isinstance(model, QuantisedNetwork):
        workloads = workloads_of_program(build(copy.deepcopy(model).assign(Assignment(), {})))
    elif input_shape is None:
        raise ValueError("energy of a float model needs input_shape, for instance (3, 32, 32)")
    else:
        workloads = workloads_of_module(model, input_shape)
    device = hardware if isinstance(hardware, Hardware) else Hardware.load(hardware or DEFAULT_HARDWARE)
    return account_assignment(workloads, assignment, circuits_of(library, assignment), device)


def _require_assignment(assignment: Assignment) -> None:
    require(assignment, Assignment, "an assignment", 'Assignment.load("assignment.json") or a point\'s .assignment')


def _require_quantised(network: nn.Module) -> QuantisedNetwork:
    if not isinstance(network, QuantisedNetwork):
        kind = type(network).__name__
        raise ValueError(f"expected a network from picojoule.approximate or picojoule.quantise, got {kind}")
    return network
