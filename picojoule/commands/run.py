"""`picojoule demo | run | validate`: a whole run from a configuration."""

import json
from pathlib import Path
from typing import Annotated

import typer

from picojoule.circuits.commands import JsonOption
from picojoule.commands.options import RootOption, SettingsOption, emit


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """The main job on handwritten digits that come with scikit-learn: train, prune, approximate, compile, report."""
    _run(Path(__file__).parents[1] / "demo.toml", out, settings, as_json)


def run(
    config: Annotated[Path, typer.Argument(help="Run configuration (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/NAME. A killed run goes on in it.")] = None,
    data_root: RootOption = None,
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """Run a configuration from trained network to compiled program, report and energy account."""
    extra = [f"data.root={json.dumps(str(data_root))}"] if data_root is not None else []
    _run(config, out, [*settings, *extra], as_json)


def _run(config: Path, out: Path | None, settings: list[str], as_json: bool) -> None:
    from picojoule.config import load_config
    from picojoule.pipeline import run_pipeline
    from picojoule.tables import console, print_headline

    resolved = load_config(config, settings)
    results = run_pipeline(resolved, out or Path("runs") / resolved.name)
    print_headline(results, console())
    emit(results, as_json)
    if results["backends_agree"] is False:
        raise SystemExit(1)


def validate(
    config: Annotated[Path, typer.Argument(help="Run configuration (TOML).")],
    settings: SettingsOption = [],  # noqa: B006  typer's way
) -> None:
    """Check a run configuration and print it with every default filled in."""
    from picojoule.config import load_config, to_toml

    print(to_toml(load_config(config, settings)), end="")
