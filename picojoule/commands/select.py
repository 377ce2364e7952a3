"""`picojoule select`: one circuit for every layer, the whole front at once."""

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
from picojoule.errors import UserError

PerLayerOption = Annotated[
    int | None, typer.Option(min=1, help="So many circuits within a layer, each for some output channels.")
]
COST = 'What is minimised: "hardware" (default) charges sign logic and wider weights; or "multiplication" alone.'
BUDGETS = ("select.max_loss", "select.max_degradation", "select.energy", "select.candidates")
UNUSED = ("train", "prune", "quantise", "tolerance", "retrain", "deploy", *BUDGETS)


def select(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="Folder for front.json, assignments of its points, and the picture.")],
    weights: WeightsOption = None,
    data: DataOption = "digits",
    data_root: RootOption = None,
    plan: PlanOption = None,
    library: LibraryOption = "default",
    traces: Annotated[Path | None, typer.Option(help="From `picojoule trace`; absent: traced here.")] = None,
    sensitivity: Annotated[Path | None, typer.Option(help="From `picojoule tolerance`; absent: measured here.")] = None,
    tolerance: Annotated[
        Path | None, typer.Option(help="From `picojoule tolerance`; judges where no sensitivity is.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="knapsack (default), greedy (published), uniform or nsga2.")
    ] = None,
    operands: Annotated[list[str] | None, typer.Option(help="Weight codings allowed. Repeatable.")] = None,
    circuits_per_layer: PerLayerOption = None,
    at_most: Annotated[int | None, typer.Option(min=1, help="Distinct circuits in the whole network.")] = None,
    area: Annotated[float | None, typer.Option(help="Area of one of each distinct circuit together, um^2.")] = None,
    pin: Annotated[list[str] | None, typer.Option(help="LAYER=CIRCUIT; LAYER may be a pattern. Repeatable.")] = None,
    energy: Annotated[float | None, typer.Option(help="Largest energy, as minimised, share of exact.")] = None,
    cost: Annotated[str | None, typer.Option(help=COST)] = None,
    degradation: Annotated[float | None, typer.Option(help="Largest predicted degradation.")] = None,
    points: Annotated[int, typer.Option(min=1, help="Points to write as assignments, without --measure.")] = 8,
    measure: Annotated[int, typer.Option(min=0, help="Points to write and to measure bit-exactly.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Measure so often, each with other calibration images.")] = 1,
    images: ImagesOption = None,
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """Choose one multiplier per layer: the whole front of energy against predicted loss, without training.

    With --measure N, N points of the front and the best networks of one circuit everywhere run bit-exactly on
    validation images, weights tuned but not retrained; interrupted, the same command goes on.
    """
    from noise_models import Limits
    from picojoule.commands.basis import Sources, read_basis
    from picojoule.commands.choosing import choose
    from picojoule.commands.selected import Request, report
    from picojoule.commands.workplace import Workplace
    from picojoule.front_folder import check_front_folder

    check_front_folder(out)
    options = source(model, weights, data, data_root) | {
        "select.method": method,
        "select.operands": operands,
        "select.cost": cost,
        "select.library": library,
        "select.circuits_at_most": at_most,
        "select.area_um2": area,
        "data.calibration_images": images,
    }
    config = resolved(options, settings, UNUSED)
    chosen, pins = config.select, {**config.select.pins, **_pins(pin or [])}
    limits = Limits(energy, degradation, chosen.circuits_at_most, chosen.area_um2, pins)
    place = Workplace.open(config, plan)
    basis = read_basis(place, Sources(traces, sensitivity, tolerance))
    fronts = choose(place, basis, limits, circuits_per_layer)
    emit(report(place, basis, fronts, Request(out, points, measure, seeds)), as_json)


def _pins(pairs: list[str]) -> dict[str, str]:
    """Raises UserError for what is not LAYER=CIRCUIT."""
    pins = {}
    for pair in pairs:
        layer, equals, circuit = pair.partition("=")
        if not (layer and equals and circuit):
            raise UserError(f"--pin {pair}: expected LAYER=CIRCUIT, such as conv1=mul8u_exact")
        pins[layer] = circuit
    return pins
