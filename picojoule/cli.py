"""The command line. Every command composes the verbs; none computes anything itself.

Tables go to standard output, progress to standard error; with --json the last line of standard output is one JSON
object. Mistakes of the user end in one line on standard error and exit code 2.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from picojoule.circuits.commands import app as circuits
from picojoule.commands.compile import compile
from picojoule.commands.energy import energy
from picojoule.commands.prune import prune
from picojoule.commands.retrain import retrain
from picojoule.commands.run import demo, run, validate
from picojoule.commands.select import select
from picojoule.commands.tolerance import tolerance
from picojoule.commands.trace import trace
from picojoule.errors import user_errors_exit
from picojoule.kernel_commands import app as kernels

INTERRUPTED = 130
COMMANDS: dict[Callable[..., Any], str] = {
    demo: "demo --out runs/demo",
    run: "run examples/resnet20_cifar10.toml --set select.max_loss=1.0",
    validate: "validate examples/resnet20_cifar10.toml",
    prune: "prune resnet20 --weights published --data cifar10 --criterion sosp-h --macs 0.5 --epochs 2 --out pruned",
    energy: "energy resnet20 --assignment a.json",
    trace: "trace resnet20 --weights published --data cifar10 --out traces.safetensors",
    tolerance: "tolerance resnet20 --weights published --data cifar10 --method agn --out tolerance.json",
    select: "select resnet20 --weights published --data cifar10 --measure 6 --seeds 3 --out front",
    retrain: "retrain resnet20 --weights published --data cifar10 --assignment front/assignment2.json --out retrained",
    compile: "compile runs/demo --target cortex-m4 --out build/demo",
}
"""In the order of a run, each with its example."""

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
for command, example in COMMANDS.items():
    app.command(epilog=f"Example: picojoule {example}")(command)


def main() -> None:
    """Entry point: user errors become one line and exit code 2."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # idle threads sleep soon: ten times faster where cores are shared
    with user_errors_exit():
        try:
            app(standalone_mode=True)
        except SystemExit as leaving:
            if leaving.code == INTERRUPTED:
                print(
                    "interrupted; the same command goes on from the last checkpoint, a minute back at most",
                    file=sys.stderr,
                )
            raise
