"""`picojoule prune`: fewer channels, the plan of what was kept, and what it cost; or what there is to prune."""

from pathlib import Path
from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption
from picojoule.commands.options import (
    ModelArgument,
    RootOption,
    SettingsOption,
    WeightsOption,
    emit,
    resolved,
    source,
)
from picojoule.errors import UserError

CRITERION = "What makes a channel important: taylor (default), magnitude, sosp-h, ...; a wrong name lists them."
SELECTOR = (
    "global (default) compares channels of all layers, priced by what they cost too, local takes equal shares, ..."
)
SCHEDULE = "one-shot (default), iterative, entwined or soft-to-hard."
DataChoice = Annotated[
    str | None, typer.Option(help="Data set: digits (default), cifar10, mnist or package.module:factory.")
]
UNUSED = ("train", "quantise", "tolerance", "select", "retrain", "deploy", "energy")


def prune(
    model: ModelArgument,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the pruning. An interrupted one goes on in it, with the same options."),
    ] = None,
    weights: WeightsOption = None,
    data: DataChoice = None,
    data_root: RootOption = None,
    macs: Annotated[float | None, typer.Option(help="Share of the multiply-accumulates to keep; default 0.5.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Share of the parameters to keep instead.")] = None,
    criterion: Annotated[str | None, typer.Option(help=CRITERION)] = None,
    selector: Annotated[str | None, typer.Option(help=SELECTOR)] = None,
    schedule: Annotated[str | None, typer.Option(help=SCHEDULE)] = None,
    steps: Annotated[int | None, typer.Option(help="Cuts of the iterative schedule; default 5.")] = None,
    step_epochs: Annotated[int | None, typer.Option(help="Training after every cut but the last; default 1.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Training after the last cut; default 0.")] = None,
    reestimate: Annotated[
        int | None, typer.Option(help="Training images to average batch norms over in the end, say 4096; default none.")
    ] = None,
    images: Annotated[int | None, typer.Option(help="Training images the criterion sees; default 512.")] = None,
    round_to: Annotated[int | None, typer.Option(help="Channels kept are a multiple of it, say 8.")] = None,
    min_keep: Annotated[int | None, typer.Option(help="Fewest channels kept in a group.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Layers left alone; a pattern. Repeatable.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only show groups, and what cannot be pruned and why.")
    ] = False,
    input_shape: Annotated[str | None, typer.Option(help="C,H,W of an image, for --explain without data.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Read the test set, once, at the very end.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of random numbers and batch order.")] = None,
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """Remove the channels a network needs least, prove that the cut network is the masked one, and train it.

    The folder holds the plan (what was kept), the weights and a picture; other commands take them by --plan and
    --weights. Further keys: --set prune.learning_rate=0.01 etc.
    """
    from picojoule.commands.pruned import NAME, check_prune_folder, explained, print_and_draw, prune_network
    from picojoule.commands.workplace import Workplace
    from picojoule.pruning_tables import explanation_rows, print_explanation
    from picojoule.tables import console

    if explain:
        explanation = explained(model, input_shape, data, data_root, keep or [])
        print_explanation(explanation, console())
        emit(explanation_rows(explanation), as_json)
        return
    if out is None:
        raise UserError("--out FOLDER is needed, for the plan and the weights; or --explain to see what can be pruned")
    options = source(model, weights, data or "digits", data_root) | {
        "name": NAME,
        "seed": seed,
        "prune.macs": 0.5 if macs is None and parameters is None else macs,
        "prune.parameters": parameters,
        "prune.criterion": criterion,
        "prune.selector": selector,
        "prune.schedule": schedule,
        "prune.steps": steps,
        "prune.step_epochs": step_epochs,
        "prune.fine_tune_epochs": epochs or 0,
        "prune.statistics_images": reestimate,
        "prune.images": images,
        "prune.round_to": round_to,
        "prune.min_keep": min_keep,
        "prune.keep": keep or None,
    }
    config = resolved(options, settings, UNUSED)
    check_prune_folder(out, config)
    place = Workplace.open(config)
    values = prune_network(place, out, test)
    print_and_draw(values, place.config, out)
    emit(values, as_json)
