"""`picojoule tolerance`: how much error every layer bears."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption, LibraryOption
from picojoule.commands.options import (
    DataOption,
    ModelArgument,
    PictureOption,
    PlanOption,
    RootOption,
    SettingsOption,
    WeightsOption,
    check_file,
    check_picture,
    emit,
    resolved,
    source,
)

UNUSED = ("train", "prune", "retrain", "deploy", "energy")


def tolerance(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="File for the tolerances, .json.")],
    method: Annotated[
        str, typer.Option(help='"fisher": one gradient pass; "agn", "agn-energy": training with learnt noise.')
    ] = "fisher",
    weights: WeightsOption = None,
    data: DataOption = "digits",
    data_root: RootOption = None,
    plan: PlanOption = None,
    library: LibraryOption = "default",
    images: Annotated[int | None, typer.Option(min=1, help="Images of the gradient pass; default 1024.")] = None,
    preset: Annotated[str | None, typer.Option(help='AGN settings: "short", or of a published network.')] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of the AGN search.")] = None,
    picture: PictureOption = None,
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """Learn how much error every layer bears.

    fisher also writes NAME.sensitivity.safetensors, the loss' curvature by output channel, for `select`. An AGN search
    is saved after every epoch; interrupted, the same command goes on. Its other keys: --set tolerance.lambda=0.3 etc.
    """
    from noise_models import Tolerance
    from picojoule.commands.workplace import Workplace
    from picojoule.files import atomic_path
    from picojoule.pipeline.quantise import quantise
    from picojoule.pipeline.tolerate import SENSITIVITY, TOLERANCE, tolerate
    from picojoule.report.tolerance_picture import draw_tolerance
    from picojoule.tables import console, print_tolerance, tolerance_rows

    check_file(out, ".json")
    check_picture(picture)
    options = source(model, weights, data, data_root) | {
        "tolerance.method": method,
        "tolerance.images": images,
        "tolerance.preset": preset,
        "tolerance.epochs": epochs,
        "select.library": library,
    }
    place = Workplace.open(resolved(options, settings, UNUSED), plan)
    files = []
    with place.scratch(out) as lab:
        floating = place.prepared(lab)
        found = tolerate(lab, floating, quantise(lab, floating))
        wanted = {SENSITIVITY: out.with_suffix(".sensitivity.safetensors"), TOLERANCE: out}
        for name, path in wanted.items():
            if name in found.outputs:
                with atomic_path(path) as temporary:
                    shutil.copyfile(found.path(name), temporary)
                files.append(str(path))
    learnt = Tolerance.load(out)
    if picture is not None:
        draw_tolerance(learnt, picture)
    rows = tolerance_rows(learnt)
    print_tolerance(rows, learnt.method, console())
    emit({"method": learnt.method, "files": files, "layers": rows}, as_json)
