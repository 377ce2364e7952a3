"""Criteria of structured pruning on CIFAR-10 ResNets: every one of ours beside torch-pruning's, trained alike.

    python -m benchmarks.pruning [--network NAME] [--seeds 3] [--work FOLDER] [--measurements FILE] --json FILE

Needs CIFAR-10 and the published weights below $PICOJOULE_DATA, and `pip install picojoule[benchmark]` for the peer.
The whole takes hours: every measurement is kept in the work folder and not made again, and an interrupted training goes
on from its last minute. All measurements also go into one file, from which another machine goes on; ours are in
benchmarks/results/pruning_measurements.json. --quick takes few images and methods; its figures mean nothing.

Protocol. Every method cuts the network to a share of its multiply-accumulates. Criteria see 1,024 training images, but
SinGE and second-order Taylor, which pass over them hundreds of times, 128. Criteria are tried in several ways
(selectors, channels priced by their MACs, only channels within residual blocks), once and in eight steps: every way of
criteria that see weights only, the best way of the others, but none of the three slowest. The way that is best on
validation images once batch norms are re-estimated is fine-tuned; on ResNet-56, of criteria that see data, the one that
is best on ResNet-20; the peer's, which take 400 steps, are all fine-tuned. Test accuracy is read right after the cut
(one-shot), with re-estimated batch norms, and after fine-tuning, which is the same for all: SGD with a cosine, products
in bfloat16. Of ResNet-56 all methods go through the first seed, the best three of ours and the peer's through all. The
best method is chosen on validation images (distorted by RandAugment, as the published weights were trained on them),
never on test images. A seed decides the images that criteria and re-estimation see, random numbers, and the order of
training; a row holds the mean, seeds stand beside it.

Of ResNet-20 the scores are compared with what the loss truly does when a channel is left out (_pruning_oracle.py).

The peer may cut within residual blocks only: through these networks' padded shortcuts it leaves networks that do not
run. Slimming scores the published weights' scales, which were not trained for it.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks._pruning_lab import Bench, Case
from benchmarks._pruning_methods import Method, methods
from benchmarks._pruning_oracle import fidelity_rows
from benchmarks._pruning_picture import Found, draw
from benchmarks._pruning_plan import FULL, QUICK, Plan
from benchmarks._report import Row, at_least, environment, markdown
from benchmarks._store import Store
from picojoule.code_version import code_version
from picojoule.files import Json, read_json, write_json

GOAL = 0.3  # pp


def rows(bench: Bench, network: str, seeds: int) -> Iterator[Row]:
    """All of one network."""
    yield Row(f"{network}, unpruned: test top-1", 100 * bench.unpruned(network), "%")
    if network == bench.plan.oracle_network:
        yield from fidelity_rows(network, bench.fidelity(network))
    for macs, found in measured(bench, network, seeds).items():
        yield from _budget_rows(f"{network}, {macs:.0%} MACs", bench.plan.recipes[network].epochs, found)


def measured(bench: Bench, network: str, seeds: int) -> dict[float, Found]:
    """By budget, of every method what was measured, seed by seed."""
    by_budget: dict[float, Found] = {}
    for macs in bench.plan.budgets:
        found: dict[Method, list[dict[str, Json]]] = {}
        for case in (Case(network, macs, seed) for seed in range(seeds)):
            for method in entrants(bench, case):
                found.setdefault(method, []).append({**bench.cut(case, method), **bench.tuned(case, method)})
        by_budget[macs] = found
    return by_budget


def chosen(bench: Bench, case: Case) -> list[Method]:
    """Of every criterion the way with the best validation accuracy on the first seed, in steps or not; all peers."""

    def reached(method: Method) -> float:
        network = bench.plan.ways_of.get(case.network, case.network) if method.needs_data else case.network
        return float(bench.cut(Case(network, case.macs, 0), method)["validation"])

    ways: dict[str, list[Method]] = {}
    for method in methods()[: bench.plan.methods]:
        tried = ways.setdefault(method.name if method.is_peer else method.name.partition(",")[0], [])
        tried.append(method)
        if method.in_steps and not method.needs_data:
            tried.append(method.in_steps)
    best = [max(tried, key=reached) if len(tried) > 1 else tried[0] for tried in ways.values()]
    return [max((m, m.in_steps), key=reached) if m.in_steps else m for m in best]


def entrants(bench: Bench, case: Case) -> list[Method]:
    """Methods that are fine-tuned with a seed: with the first one all, then finalists of ours, and the peer's."""
    everyone, places = chosen(bench, case), bench.plan.finalists[case.network]
    if case.seed == 0 or places is None:
        return everyone
    first = Case(case.network, case.macs, 0)
    ours = [method for method in everyone if not method.is_peer]
    best = sorted(ours, key=lambda method: bench.tuned(first, method)["validation"], reverse=True)[:places]
    return [method for method in everyone if method.is_peer or method in best]


def _budget_rows(where: str, epochs: int, found: Found) -> Iterator[Row]:
    """Three rows a method, and what is between the best of ours and of the peer's."""
    stages = {
        "one-shot": "one_shot",
        "batch norms re-estimated": "reestimated",
        f"{epochs} epoch{'s' * (epochs > 1)} of fine-tuning": "tuned",
    }
    for method, seeds in found.items():
        for stage, key in stages.items():
            kept = statistics.mean(seed["macs"] for seed in seeds)
            name = f"{where}, {method.name}, {stage}: test top-1"
            values = [100 * seed[key] for seed in seeds]
            yield Row(name, statistics.mean(values), "%", peer=f"seeds: {_spread(values)}; {kept:.1%} of the MACs kept")
    yield from _difference(where, found)


def _difference(where: str, found: Found) -> Iterator[Row]:
    """Best of ours against best of the peer's, both chosen on validation images."""
    best: dict[bool, Method] = {}
    whole = max(len(seeds) for seeds in found.values())
    for method, seeds in found.items():
        if len(seeds) < whole:
            continue
        rival = best.setdefault(method.is_peer, method)
        if _mean(seeds, "validation") > _mean(found[rival], "validation"):
            best[method.is_peer] = method
    if len(best) == 2:
        ours, peer = best[False], best[True]
        pairs = zip(found[ours], found[peer], strict=True)
        differences = [100 * (mine["tuned"] - other["tuned"]) for mine, other in pairs]
        beside = f"seeds: {_spread(differences)}; {ours.name} against {peer.name}"
        yield at_least(
            f"{where}: best of ours above best of the peer's", statistics.mean(differences), "pp", GOAL, beside
        )


def _mean(seeds: Sequence[Mapping[str, Json]], key: str) -> float:
    return statistics.mean(seed[key] for seed in seeds)


def _spread(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def merged(store: Store, command: str) -> Json:
    """Rows of all networks the store holds as one report."""
    files = [store.rows("pruning", network) for network in FULL.recipes]
    parts = [read_json(path) for path in files if path.is_file()]
    return {
        "command": command,
        "environment": environment(),
        "parts": parts,
        "rows": [row for part in parts for row in part.pop("rows")],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and methods, one seed")
    parser.add_argument("--network", default="resnet20", choices=FULL.recipes)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="measurements made and to be made; else none kept")
    parser.add_argument(
        "--measurements", type=Path, metavar="FILE", help="made earlier, not to be made again; those made are added"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write this file, of all networks there are; a picture beside it"
    )
    arguments = parser.parse_args()
    if arguments.quick and arguments.measurements is not None:
        parser.error("--quick measures nothing that is worth keeping; leave out --measurements or --quick")
    plan: Plan = QUICK if arguments.quick else FULL
    seeds = 1 if arguments.quick else arguments.seeds
    options = f"{'--quick ' * arguments.quick}--network {arguments.network} --seeds {seeds}"
    command = f"python -m benchmarks.pruning {options}"
    with tempfile.TemporaryDirectory() as temporary:
        store = Store((arguments.work or Path(temporary)) / ("quick" if arguments.quick else "full"))
        if arguments.measurements is not None and arguments.measurements.is_file():
            store.unpack(arguments.measurements)
        try:
            bench = Bench(plan, store)
            found = list(rows(bench, arguments.network, seeds))
        finally:
            if arguments.measurements is not None:
                store.pack(arguments.measurements)
        about = {"network": arguments.network, "command": command, "seeds": seeds, "configuration": asdict(plan)}
        write_json(
            store.rows("pruning", arguments.network),
            {
                **about,
                "code_version": code_version(),
                "environment": environment(),
                "rows": [asdict(row) for row in found],
            },
        )
        print(markdown(found), flush=True)
        if arguments.json is not None:
            write_json(arguments.json, merged(store, command))
            picture = arguments.json.with_name(f"{arguments.json.stem}_{arguments.network}.svg")
            draw(arguments.network, measured(bench, arguments.network, seeds), picture)


if __name__ == "__main__":
    main()
