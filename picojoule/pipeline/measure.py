"""Stage "measure": the accuracies that are reported. Integer programs, all test images, each looked at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from approx import accuracy
from deploy.build import build
from deploy.interpreter import run
from deploy.program import Program
from deploy.program_file import load_program
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.deploy import PROGRAM
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import EXACT, load_network, load_quantised
from picojoule.pipeline.select import point_networks
from picojoule.progress import track
from picojoule.stages import StageContext, StageResult


@dataclass(frozen=True)
class Done:
    """The finished stages that are measured."""

    prepared: StageResult
    floating: StageResult
    quantised: StageResult
    selected: StageResult
    deployed: StageResult


def measure(lab: Lab, done: Done) -> StageResult:
    """Runs the stage."""
    batch_size = lab.config.data.evaluation_batch_size

    def batches(name: str) -> Iterator[tuple[Tensor, Tensor]]:
        return track(Loader(lab.splits.test, batch_size), name, total=-(-len(lab.splits.test) // batch_size))

    def action(context: StageContext) -> Mapping[str, Json]:
        exact = build(load_quantised(lab, done.quantised, EXACT))
        final = load_program(done.deployed.path(PROGRAM))
        values: dict[str, Json] = {"test_images": len(lab.splits.test)}
        values["accuracy_float"] = accuracy(load_network(lab, done.prepared), batches("test float"))
        if done.floating is not done.prepared:
            values["accuracy_pruned"] = accuracy(load_network(lab, done.floating), batches("test pruned"))
        values["accuracy_int8"] = accuracy(executor(exact), batches("test int8"))
        values["accuracy_approximate"] = accuracy(executor(final), batches("test approximate"))
        values["accuracy_points"] = [
            accuracy(executor(program), batches(f"test point {number + 1}"))
            for number, program in enumerate(_points(lab, done))
        ]
        return values

    return lab.stage("measure", action, {}, vars(done), ("deploy", "multipliers"))


def _points(lab: Lab, done: Done) -> Iterator[Program]:
    """Programs of the front's points that selection measured on validation images, not retrained."""
    return map(build, point_networks(lab, done.selected))


def executor(program: Program) -> Callable[[Tensor], Tensor]:
    """Images [N, C, H, W] -> output codes [N, F] of an integer program, bit-exact, through the fast kernels."""

    def execute(images: Tensor) -> Tensor:
        return torch.from_numpy(run(program, program.quantise_input(images.numpy()), kernels="fast"))

    return execute
