"""`picojoule trace`: what every layer sees on calibration images."""

from pathlib import Path
from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption
from picojoule.commands.options import (
    DataOption,
    ImagesOption,
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

UNUSED = ("train", "prune", "quantise", "tolerance", "retrain", "deploy", "energy")


def trace(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="File for the traces, .safetensors.")],
    weights: WeightsOption = None,
    data: DataOption = "digits",
    data_root: RootOption = None,
    plan: PlanOption = None,
    images: ImagesOption = None,
    patches: Annotated[int | None, typer.Option(min=1, help="Receptive fields kept per layer; default 512.")] = None,
    picture: PictureOption = None,
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """Run calibration images through the exact 8-bit network and keep what every layer sees.

    Error models work from this file: sampled receptive fields, weights, scales, and the spread of outputs. No labels,
    no training.
    """
    import approx
    from picojoule.commands.workplace import Workplace
    from picojoule.files import atomic_path
    from picojoule.report.trace_picture import draw_codes
    from picojoule.tables import console, print_traces, trace_rows

    check_file(out, ".safetensors")
    check_picture(picture)
    options = source(model, weights, data, data_root) | {
        "data.calibration_images": images,
        "select.patches": patches,
    }
    config = resolved(options, settings, UNUSED)
    place = Workplace.open(config, plan)
    batches = place.batches(config.data.calibration_images)
    traces = approx.trace(approx.quantise(place.network(), batches), batches, config.select.patches)
    with atomic_path(out) as temporary:
        approx.save_traces(traces, temporary)
    if picture is not None:
        draw_codes(traces, picture)
    rows = trace_rows(traces)
    print_traces(rows, console())
    emit({"file": str(out), "images": sum(map(len, batches)), "layers": rows}, as_json)
