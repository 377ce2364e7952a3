"""`picojoule compile`: a network for a device."""

from pathlib import Path
from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption, LibraryOption
from picojoule.commands.options import AssignmentOption, PlanOption, RootOption, WeightsOption, emit


def compile(
    model: Annotated[str, typer.Argument(help="Run folder, program file, model name or package.module:factory.")],
    target: Annotated[str, typer.Option(help="cortex-m4, aarch64 or x86-64.")],
    out: Annotated[Path, typer.Option(help="Folder for sources, binaries and golden vectors.")],
    weights: WeightsOption = None,
    data: Annotated[str | None, typer.Option(help="Data set for calibration, for a model name.")] = None,
    data_root: RootOption = None,
    plan: PlanOption = None,
    assignment: AssignmentOption = None,
    library: LibraryOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Compile a network for a device and check it against golden vectors."""
    from approx import Assignment
    from picojoule.config import DataConfig
    from picojoule.libraries import open_library
    from picojoule.sources import Candidate, open_program
    from picojoule.tables import artifact_values, console, print_artifact
    from picojoule.verbs import compile as compile_program

    root = None if data_root is None else str(data_root)
    chosen = Assignment.load(assignment) if assignment is not None else None
    calibration = DataConfig(name=data, root=root) if data is not None else None
    circuits_of_choice = open_library(library, root, chosen)
    program = open_program(Candidate(model, weights, plan, chosen, circuits_of_choice), calibration)
    artifact = compile_program(program, target, out)
    print_artifact(artifact, console())
    emit(artifact_values(artifact), as_json)
    if not artifact.passed:
        raise SystemExit(1)
