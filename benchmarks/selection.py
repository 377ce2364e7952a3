"""Circuits chosen for CIFAR-10 networks: our selection against published methods and the best uniform circuit.

    python -m benchmarks.selection [--quick] [--network NAME] [--parts PART ...] [--seeds 3] [--work FOLDER] --json FILE

Needs CIFAR-10, the published weights and EvoApprox lite below $PICOJOULE_DATA. The whole takes hours: every measurement
is kept in the work folder and not made again, an interrupted training goes on from its last minute, and FILE merges all
parts, of all networks, that the work folder holds. --quick takes few images, circuits and points and one seed, for a
look at the machinery; its figures mean nothing.

Protocol. Circuits: the 49 of EvoApprox lite, every weight coding and operand order. Energy: multiplication alone, sum
of MACs times a circuit's power over that of the exact circuit of the same signedness (0.391 mW unsigned, 0.425 mW
signed), all layers counted. Loss: top-1 against the exact 8-bit network of the same seed, bit-exact. All choices (point
of a front, weights of a training) are made on 5,000 images that are held out of every training here. The published
weights, however, were trained on all 50,000 images, so these are distorted (RandAugment, magnitude 7: the float network
then scores about what it does on test images). Networks without published weights are trained here first, without the
5,000 images, which then stay as they are. A validation loss is what a network's divergence from the float network is
worth on these images (_selection_exchange.py). The 10,000 test images are read once per reported point, after the
choice; rows "read off test accuracy" say so. A seed decides calibration, traced and sensitivity images, the distortion,
NSGA-II, AGN and the order of training; a row holds the mean, the seeds stand beside it.

Parts: error-model (predicted / true std), no-retraining (all methods in one table), front (of ours), retraining, cost,
energy (columns, and the price of mixing circuits), resume (interrupted = uninterrupted), picture (beside FILE).
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks._error_models import error_model_rows
from benchmarks._report import Row, at_most, environment, markdown
from benchmarks._selection_cost import cost_rows
from benchmarks._selection_energy import energy_rows
from benchmarks._selection_lab import Laboratory, data
from benchmarks._selection_picture import draw
from benchmarks._selection_plan import FULL, QUICK, Plan
from benchmarks._selection_resume import resume_rows
from benchmarks._selection_retraining import retraining_rows
from benchmarks._selection_tables import front_rows, no_retraining_rows, spread
from benchmarks._store import Store
from picojoule.code_version import code_version
from picojoule.files import Json, read_json, write_json

Part = Callable[[Sequence[Laboratory]], Iterator[Row]]


def error_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Of every error model, mean over seeds."""

    def measure(lab: Laboratory) -> Json:
        rows = error_model_rows(f"{lab.name}, EvoApprox", lab.network, data(), lab.library, (lab.seed,))
        return [asdict(row) for row in rows]

    found = [[Row(**row) for row in lab.store.value("errors", lab.key, partial(measure, lab))] for lab in labs]
    for same in zip(*found, strict=True):
        values = [row.value for row in same]
        beside = f"seeds: {spread([100 * v for v in values], '%')}"
        yield at_most(same[0].case, statistics.mean(values), same[0].unit, same[0].goal, beside)


PARTS: Mapping[str, Part] = {
    "error-model": error_rows,
    "no-retraining": no_retraining_rows,
    "front": front_rows,
    "retraining": retraining_rows,
    "cost": cost_rows,
    "energy": energy_rows,
    "resume": resume_rows,
}
PICTURE = "picture"


def run(part: str, labs: Sequence[Laboratory], command: str) -> None:
    """Measures a part and keeps its rows, with the configuration they are of."""
    rows = list(PARTS[part](labs))
    plan = labs[0].plan
    configuration = {**asdict(plan), "retraining": asdict(plan.retraining[labs[0].name])}
    about: dict[str, Json] = {
        "part": part,
        "network": labs[0].name,
        "command": command,
        "seeds": [lab.seed for lab in labs],
    }
    about |= {"code_version": code_version(), "environment": environment(), "configuration": configuration}
    write_json(labs[0].store.rows(part, labs[0].name), {**about, "rows": [asdict(row) for row in rows]})
    print(markdown(rows), flush=True)


def merged(store: Store, command: str) -> Json:
    """All parts the store holds as one report."""
    files = [store.rows(part, network) for network in FULL.retraining for part in PARTS]
    parts = [read_json(path) for path in files if path.is_file()]
    rows = [row for part in parts for row in part.pop("rows")]
    return {"command": command, "environment": environment(), "parts": parts, "rows": rows}


def _picture(labs: Sequence[Laboratory], beside: Path) -> None:
    name = "selection_front.svg" if labs[0].name == "resnet20" else f"selection_front_{labs[0].name}.svg"
    held = labs[0].store.rows("retraining", labs[0].name).is_file()
    draw(labs, beside.with_name(name), with_retrained=held)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, circuits and points, one seed")
    parser.add_argument("--network", default="resnet20", choices=FULL.retraining)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, PICTURE], metavar="PART", help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="measurements made and to be made; else none kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="merge all parts there are into this file")
    arguments = parser.parse_args()
    parts = arguments.parts or [*PARTS, *[PICTURE] * (arguments.json is not None)]
    if PICTURE in parts and arguments.json is None:
        parser.error("the picture is written beside the JSON file; give --json FILE")
    plan: Plan = QUICK if arguments.quick else FULL
    seeds = 1 if arguments.quick else arguments.seeds
    options = f"--network {arguments.network} --parts {' '.join(parts)} --seeds {seeds}"
    command = f"python -m benchmarks.selection {'--quick ' * arguments.quick}{options}"
    with tempfile.TemporaryDirectory() as temporary:
        store = Store((arguments.work or Path(temporary)) / ("quick" if arguments.quick else "full"))
        labs = [Laboratory(arguments.network, seed, plan, store) for seed in range(seeds)]
        for part in parts:
            if part == PICTURE:
                _picture(labs, arguments.json)
            else:
                run(part, labs, command)
        if arguments.json is not None:
            write_json(arguments.json, merged(store, command))


if __name__ == "__main__":
    main()
