"""The command line. Every command composes the verbs; none computes anything itself.

Tables go to standard output, progress to standard error; with --json the last line of standard output is one JSON
object. Mistakes of the user end in one line on standard error and exit code 2.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from picojoule.circuits.commands import JsonOption, LibraryOption
from picojoule.circuits.commands import app as circuits
from picojoule.errors import UserError, user_errors_exit
from picojoule.kernel_commands import app as kernels

INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Choose approximate multipliers, compile pruned networks for small devices, account for every picojoule.",
    epilog="Begin with: picojoule demo",
)
app.add_typer(circuits, name="multipliers")
app.add_typer(kernels, name="kernels")

PlanOption = Annotated[Path | None, typer.Option(help="Pruning plan (JSON) to apply first.")]
WeightsOption = Annotated[str | None, typer.Option(help='Weight file (.safetensors, .th, .pt), or "published".')]
AssignmentOption = Annotated[Path | None, typer.Option(help="Circuits by layer (JSON).")]
RootOption = Annotated[Path | None, typer.Option(help="Where data sets lie; also $PICOJOULE_DATA.")]
SettingsOption = Annotated[list[str], typer.Option("--set", help="Override a key: section.key=value.")]


@app.command(epilog="Example: picojoule demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    settings: SettingsOption = [],  # noqa: B006  typer's way
    as_json: JsonOption = False,
) -> None:
    """The main job on handwritten digits that come with scikit-learn: train, prune, approximate, compile, report."""
    _run(Path(__file__).with_name("demo.toml"), out, settings, as_json)


@app.command(epilog="Example: picojoule run examples/resnet20_cifar10.toml --set select.max_loss=1.0")
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
    _emit(results, as_json)
    if results["backends_agree"] is False:
        raise SystemExit(1)


@app.command(epilog="Example: picojoule validate examples/resnet20_cifar10.toml")
def validate(
    config: Annotated[Path, typer.Argument(help="Run configuration (TOML).")],
    settings: SettingsOption = [],  # noqa: B006  typer's way
) -> None:
    """Check a run configuration and print it with every default filled in."""
    from picojoule.config import load_config, to_toml

    print(to_toml(load_config(config, settings)), end="")


@app.command(epilog="Example: picojoule energy resnet20 --assignment a.json")
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
    _emit(report.to_json(), as_json)


@app.command(epilog="Example: picojoule select resnet20 --weights published --data cifar10 --out front")
def select(
    model: Annotated[str, typer.Argument(help="Model name or package.module:factory.")],
    out: Annotated[Path, typer.Option(help="Folder for front.json and the assignments of its points.")],
    weights: WeightsOption = None,
    data: Annotated[str, typer.Option(help="Data set for calibration.")] = "digits",
    data_root: RootOption = None,
    plan: PlanOption = None,
    library: LibraryOption = "default",
    points: Annotated[int, typer.Option(min=1, help="Points of the front to write as assignments.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Choose one multiplier per layer: the whole front of energy against predicted loss, without training."""
    from picojoule.config import DataConfig
    from picojoule.front_folder import check_front_folder, write_front
    from picojoule.libraries import open_library
    from picojoule.sources import calibration_batches, open_float
    from picojoule.tables import console, print_front
    from picojoule.verbs import select as select_front

    check_front_folder(out)
    if weights is None:
        raise UserError(f"selecting circuits for {model!r} needs its trained weights: --weights FILE, or published")
    circuits_of_choice = open_library(library, _text(data_root))
    network = open_float(model, weights, plan, _text(data_root))
    batches = calibration_batches(DataConfig(name=data, root=_text(data_root)), network, model)
    front = select_front(network, batches, circuits_of_choice)
    rows = write_front(front, out, points)
    print_front(rows, console())
    _emit({"points": len(front), "written": rows}, as_json)


@app.command(epilog="Example: picojoule compile runs/demo --target cortex-m4 --out build/demo")
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

    chosen = Assignment.load(assignment) if assignment is not None else None
    calibration = DataConfig(name=data, root=_text(data_root)) if data is not None else None
    circuits_of_choice = open_library(library, _text(data_root), chosen)
    program = open_program(Candidate(model, weights, plan, chosen, circuits_of_choice), calibration)
    artifact = compile_program(program, target, out)
    print_artifact(artifact, console())
    _emit(artifact_values(artifact), as_json)
    if not artifact.passed:
        raise SystemExit(1)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _emit(values: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(values), flush=True)


def main() -> None:
    """Entry point: user errors become one line and exit code 2."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # idle threads sleep soon: ten times faster where cores are shared
    with user_errors_exit():
        try:
            app(standalone_mode=True)
        except SystemExit as leaving:
            if leaving.code == INTERRUPTED:
                print("interrupted; the same command goes on where it was", file=sys.stderr)
            raise
