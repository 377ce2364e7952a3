"""`picojoule kernels ...`: which kernel computes what, and how fast."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picojoule.circuits.commands import JsonOption, LibraryOption

if TYPE_CHECKING:
    from approx import Assignment

app = typer.Typer(no_args_is_help=True, help="The kernels that simulate circuits.", rich_markup_mode=None)


@app.command(epilog="Example: picojoule kernels explain resnet20 --circuit mul8u_trunc6 --batch 32")
def explain(
    model: Annotated[str, typer.Argument(help="Model name or package.module:factory.")],
    circuit: Annotated[str | None, typer.Option(help="One circuit for every layer.")] = None,
    assignment: Annotated[Path | None, typer.Option(help="Circuits by layer (JSON).")] = None,
    library: LibraryOption = "default",
    input_shape: Annotated[str | None, typer.Option(help="C,H,W of an image, for models of your own.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    as_json: JsonOption = False,
) -> None:
    """Path, predicted and measured time of every layer, beside torch's float convolution. Images are random."""
    import torch

    from approx import Assignment, explain_kernels, quantise
    from picojoule.errors import UserError
    from picojoule.libraries import open_library
    from picojoule.sources import input_shape_of, open_float
    from picojoule.tables import console, print_kernels

    if (circuit is None) == (assignment is None):
        raise UserError("say either --circuit NAME, for every layer, or --assignment FILE")
    chosen = Assignment.load(assignment) if assignment is not None else one_for_all(str(circuit), library)
    circuits = open_library(library, assignment=chosen)
    images = torch.randn(batch, *input_shape_of(model, input_shape), generator=torch.Generator().manual_seed(0))
    network = quantise(open_float(model, None, None), [images])
    network.assign(chosen, circuits)
    rows = explain_kernels(network, images)
    print_kernels(rows, torch.get_num_threads(), console())
    if as_json:
        print(json.dumps({"layers": [dataclasses.asdict(row) for row in rows]}), flush=True)


@app.command(epilog="Example: picojoule kernels calibrate")
def calibrate(as_json: JsonOption = False) -> None:
    """Measures every kernel on this machine (some seconds), so that the choice between them fits it.

    The factors are kept in the kernel cache (PICOJOULE_CACHE). They change times, never results.
    """
    from approx.kernels.calibrate import MEASUREMENTS
    from approx.kernels.calibrate import calibrate as measure
    from approx.kernels.cost_factors import factors_file
    from picojoule.progress import progress
    from picojoule.tables import console, print_cost_factors

    with progress("kernels", MEASUREMENTS) as step:
        found = measure(lambda path: step(path))
    print_cost_factors(found, console())
    console().print(f"kept in {factors_file()}", soft_wrap=True)
    if as_json:
        print(json.dumps({"paths": [dataclasses.asdict(each) for each in found]}), flush=True)


def one_for_all(circuit: str, library: str) -> "Assignment":
    """The assignment of one circuit to every layer, with operands of its sign."""
    from approx import Assignment, Choice, Operands
    from picojoule.libraries import open_library

    found = open_library(library, assignment=Assignment({"*": Choice(circuit)}))[circuit]
    return Assignment({"*": Choice(circuit, Operands.SIGNED if found.signed else Operands.SIGN_MAGNITUDE)})
