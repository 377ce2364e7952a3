"""Options that several commands share, and the configuration they amount to.

Options are keys of a run configuration by another name, so one place checks them, and `--set section.key=value` reaches
the keys that have no option of their own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picojoule.errors import UserError

if TYPE_CHECKING:
    from picojoule.config import RunConfig

ModelArgument = Annotated[str, typer.Argument(help="Model name or package.module:factory.")]
WeightsOption = Annotated[str | None, typer.Option(help='Weight file (.safetensors, .th, .pt), or "published".')]
DataOption = Annotated[str, typer.Option(help="Data set: digits, cifar10, mnist or package.module:factory.")]
RootOption = Annotated[Path | None, typer.Option(help="Where data sets lie; also $PICOJOULE_DATA.")]
PlanOption = Annotated[Path | None, typer.Option(help="Pruning plan (JSON) to apply first.")]
AssignmentOption = Annotated[Path | None, typer.Option(help="Circuits by layer (JSON).")]
SettingsOption = Annotated[
    list[str], typer.Option("--set", help="A key of the run configuration: section.key=value. Repeatable.")
]
ImagesOption = Annotated[int | None, typer.Option(min=1, help="Calibration images; default 512.")]
PictureOption = Annotated[Path | None, typer.Option(help="Picture to draw: .svg or .png.")]


def source(model: str, weights: str | None, data: str, data_root: Path | None) -> dict[str, Any]:
    """The options that say which network and which images, as keys of the configuration.

    Raises:
        UserError: there are no weights.
    """
    if weights is None:
        from picojoule.models import make_model, model_entry

        make_model(model)  # a name that is not known is said first
        entry = model_entry(model)
        published = ", or --weights published" if entry and entry.weights else ", a state_dict as .safetensors or .pt"
        raise UserError(f"{model!r} needs its trained weights: --weights FILE{published}")
    return {"model.name": model, "model.weights": weights, "data.name": data, "data.root": data_root}


def resolved(options: Mapping[str, Any], settings: Sequence[str], unused: Sequence[str]) -> "RunConfig":
    """The configuration that options amount to.

    Args:
        options: "section.key" -> value; None where it was not given.
        settings: "section.key=value", which win over options.
        unused: sections and keys that mean nothing to the command.

    Raises:
        UserError: a value is out of range, or a key is not known or not used, named as `--set` would.
    """
    from picojoule.config.loading import parse_config

    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key in unused or key.partition(".")[0] in unused:
            raise UserError(f"--set {setting}: this command does not use it; leave it out")
    given = [f"{key}={_toml(value)}" for key, value in options.items() if value is not None]
    return parse_config("", "command line", [*given, *settings])


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


def check_picture(path: Path | None) -> None:
    """Refuses a format that cannot be drawn, before any work is done."""
    if path is not None and path.suffix not in (".svg", ".png"):
        raise UserError(f"{path}: expected a picture ending in .svg or .png, got {path.suffix or 'no ending'!r}")


def check_file(path: Path, ending: str) -> None:
    """Refuses a result file that cannot be written, before any work is done."""
    if path.is_dir() or path.suffix != ending:
        raise UserError(f"--out {path}: expected a file ending in {ending}")


def emit(values: Any, as_json: bool) -> None:
    """With --json: the last line of standard output."""
    if as_json:
        print(json.dumps(values, allow_nan=False), flush=True)
