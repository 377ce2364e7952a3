"""`picojoule energy`: energy of a candidate configuration."""

from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption, LibraryOption
from picojoule.commands.options import AssignmentOption, PlanOption, emit


def energy(
    model: Annotated[str, typer.Argument(help="Model name, package.module:factory, run folder, or program file.")],
    assignment: AssignmentOption = None,
    plan: PlanOption = None,
    input_shape: Annotated[str | None, typer.Option(help="C,H,W of an image, for models of your own.")] = None,
    library: LibraryOption = "default",
    hardware: Annotated[str | None, typer.Option(help="Hardware description: a name or a .toml file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Energy of a candidate configuration, layer by layer; no training, no data."""
    from approx import Assignment
    from picojoule.libraries import open_library
    from picojoule.sources import energy_report
    from picojoule.tables import console, print_energy

    chosen = Assignment.load(assignment) if assignment is not None else None
    report = energy_report(model, chosen, open_library(library, assignment=chosen), (plan, input_shape, hardware))
    print_energy(report, console())
    emit(report.to_json(), as_json)
