"""`picojoule retrain`: given circuits, tuned weights, training with the bit-exact forward, and the integer program."""

from pathlib import Path
from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption, LibraryOption
from picojoule.commands.options import (
    DataOption,
    ImagesOption,
    ModelArgument,
    PlanOption,
    RootOption,
    SettingsOption,
    WeightsOption,
    emit,
    resolved,
    source,
)

GradientOption = Annotated[
    str | None, typer.Option(help="Of the products: line (default), straight, or a half window of table differences.")
]
ValidationOption = Annotated[
    str | None, typer.Option(help="Keep the weights best in accuracy or divergence; absent: the last.")
]

UNUSED = ("train", "prune", "tolerance", "deploy", "energy")


def retrain(
    model: ModelArgument,
    assignment: Annotated[Path, typer.Option(help="Circuits by layer (JSON).")],
    out: Annotated[
        Path, typer.Option(help="Folder for checkpoints and program. An interrupted training goes on in it.")
    ],
    weights: WeightsOption = None,
    data: DataOption = "digits",
    data_root: RootOption = None,
    plan: PlanOption = None,
    library: LibraryOption = "default",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; default 1.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Start of the cosine; default 0.0003.")] = None,
    distillation: Annotated[float | None, typer.Option(help="Weight of the float network's outputs, 0..1.")] = None,
    mixup: Annotated[bool | None, typer.Option("--mixup", help="Mix pairs of images; needs --distillation 1.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of an average of the weights.")] = None,
    gradient: GradientOption = None,
    validation: ValidationOption = None,
    patience: Annotated[int | None, typer.Option(help="Validations without a new best before the end.")] = None,
    images: ImagesOption = None,
    test: Annotated[bool, typer.Option("--test", help="Read the test set, once, at the very end.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of batch order, augmentation and mixup.")] = None,
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """Give layers their circuits, tune the weights for them, train with the bit-exact forward.

    Checkpoints carry their history; the folder compiles like that of a run: picojoule compile OUT --target cortex-m4.
    Further keys of the recipe: --set retrain.momentum=0.95 etc.
    """
    from approx import Assignment
    from picojoule.commands.retrained import NAME, check_retrain_folder, train_assigned
    from picojoule.commands.workplace import Workplace
    from picojoule.tables import console, print_retrained

    check_retrain_folder(out)
    options = source(model, weights, data, data_root) | {
        "name": NAME,
        "seed": seed,
        "data.calibration_images": images,
        "select.library": library,
        "retrain.epochs": 1 if epochs is None else epochs,
        "retrain.learning_rate": learning_rate,
        "retrain.distillation": distillation,
        "retrain.mixup": mixup,
        "retrain.ema": ema,
        "retrain.gradient": int(gradient) if gradient and gradient.isdecimal() else gradient,
        "retrain.validation": validation,
        "retrain.patience": patience,
    }
    config = resolved(options, settings, UNUSED)
    chosen = Assignment.load(assignment)
    values = train_assigned(Workplace.open(config, plan, chosen), chosen, out, test)
    print_retrained(values, console())
    emit(values, as_json)
