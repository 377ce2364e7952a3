"""Every torchvision classifier and segmenter pruned to half of its MACs, by us and by torch-pruning 1.6.1.

    python -m benchmarks.pruning_coverage [--quick] [--networks NAME ...] [--work FOLDER] [--json FILE]

Needs `pip install -e .[benchmark]` for the peer; without it, rows say so. The whole takes hours: every measurement is
kept in the work folder and not made again, so an interrupted run goes on; when our engine has changed, which is said,
delete FOLDER/ours and FOLDER/speed. --quick takes three small networks.

Both engines prune by the L2 norm of a group: ours to 0.5 of the MACs (one ranking over all groups), the peer as its
README says (BasePruner, GroupMagnitudeImportance, the same share of every group, 1 - sqrt(0.5) of its channels, the
classifier left alone), with its own repairs for vision transformers. Weights are random (see `_pruning_zoo`).

Outcomes. correct: the cut network equals the dense one whose removed numbers are zero (fp64, 1e-9; one judge for both
engines, which sees weights only). renormalised: it does once layer norms average over the channels kept. wrong: it does
not. untouched: nothing was removed. refused: the engine named what it cannot prune. discarded: our own proof failed
and nothing was returned. crash: anything else raised, in pruning or in running the cut network. timeout: no cut after
150 s. Seconds are processor time of one thread: grouping, scores, choice and cut; for ours, trial cuts included, and
the proof (masked == cut) apart. Speeds are medians of three interleaved rounds at 224 x 224, after a warm-up.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks._pruning_engines import PEER, PEER_VERSION, SHARE, peer_version
from benchmarks._pruning_measure import LIMIT_S, SPEED_SIDE, in_process
from benchmarks._pruning_zoo import QUICK, Network, networks
from benchmarks._report import Row, at_least, at_most, environment, markdown
from benchmarks._store import Store
from picojoule.code_version import code_version
from picojoule.files import Json, write_json
from pruning import TOLERANCE

SPEED = ("resnet50", "densenet121", "mobilenet_v2")
FINISHES = "swin_t"
CLEAR_EFFECT = 1e-6
Results = Mapping[str, Mapping[str, Json]]


def summary(ours: Results, peer: Results | None) -> Iterator[Row]:
    """What became of all networks together."""
    whole = len(ours)
    done = [name for name, found in ours.items() if _holds(found)]
    share = partial(_share, whole=whole)
    yield at_least(f"pruned to {SHARE} of the MACs, masked == cut, of {whole}", share(done), "%", 95.0, _beside(peer))
    for outcome, goal in (("wrong", 0.0), ("crash", 0.0), ("timeout", 0.0), ("discarded", 0.0), ("refused", None)):
        names = [name for name, found in ours.items() if found["outcome"] == outcome]
        theirs = "" if peer is None else f"{PEER}: {sum(found['outcome'] == outcome for found in peer.values())}"
        listed = f" ({', '.join(names)})" if names else ""
        yield at_most(f"{outcome}{listed}", float(len(names)), f"of {whole}", goal, theirs)
    cuts = [found for found in ours.values() if found.get("difference") is not None]
    if cuts:
        worst, least = max(f["difference"] for f in cuts), min(f["effect"] for f in cuts)
        yield at_most("largest |masked - cut|", worst, "of the largest output", TOLERANCE)
        yield at_least(
            "least effect of a removal: what a wrong cut shows", least, "of the largest output", CLEAR_EFFECT
        )


def network_row(network: Network, ours: Mapping[str, Json], peer: Mapping[str, Json] | None) -> Row:
    """One network, with what both engines made of it."""
    case = f"{network.name} at {network.side}: {_told(ours)}"
    beside = f"{PEER} is not installed" if peer is None else f"{PEER}: {_told(peer)}"
    return Row(case, ours.get("macs", 1.0), "of the MACs", SHARE, _holds(ours), beside)


def speed_rows(name: str, found: Mapping[str, float]) -> Iterator[Row]:
    """Times of both engines on one network."""
    case = f"{name} at {SPEED_SIDE}: grouping and cutting, {found['ours']:.2f} s"
    beside = f"{PEER}: {found['peer']:.2f} s"
    yield at_most(case, found["ratio"], f"x {PEER}", 1.0, beside)
    whole = found["ours"] + found["proof"]
    yield at_most(f"{name} at {SPEED_SIDE}: the same with our proof, {whole:.2f} s", whole / found["peer"], f"x {PEER}")


def _holds(found: Mapping[str, Json]) -> bool:
    return found["outcome"] == "correct" and found["macs"] <= SHARE + 1e-6


def _beside(peer: Results | None) -> str:
    if peer is None:
        return f"{PEER} is not installed"
    counts: dict[str, int] = {}
    for found in peer.values():
        counts[found["outcome"]] = counts.get(found["outcome"], 0) + 1
    listed = ", ".join(f"{_share([''] * n, len(peer)):.0f} % {outcome}" for outcome, n in sorted(counts.items()))
    return f"{PEER}: {listed}"


def _share(names: Sequence[str], whole: int) -> float:
    return 100 * len(names) / whole


def _told(found: Mapping[str, Json]) -> str:
    parts = [found["outcome"], f"{found['seconds']:.1f} s"]
    if "proof_seconds" in found:
        parts.append(f"proof {found['proof_seconds']:.1f} s")
    if "macs" in found:
        parts.append(f"{found['macs']:.3f} of the MACs")
    if found.get("difference") is not None:
        parts.append(f"differs by {found['difference']:.1e}")
    return ", ".join(parts) + (f"; {found['why']}" if found["why"] else "")


def measured(store: Store, what: str, network: Network) -> Json:
    """The stored measurement, made where there is none, with the version of our engine that it is of."""

    def measure() -> Json:
        return {**in_process(what, network), "code": code_version("pruning")}

    found = store.value(what, {"network": network.name, "side": network.side}, measure)
    if what != "peer" and found["code"] != code_version("pruning"):
        print(f"{what}, {network.name}: measured with another version of our engine", file=sys.stderr)
    return found


def run(store: Store, chosen: Sequence[Network], *, with_peer: bool, with_speed: bool) -> Iterator[Row]:
    """All rows; the networks' own are printed as they come."""
    timed = [network for network in chosen if with_peer and with_speed and network.name in SPEED]
    speeds = {network.name: measured(store, "speed", network) for network in timed}
    ours, peer = dict[str, Json](), dict[str, Json]()
    rows = []
    for network in chosen:
        ours[network.name] = measured(store, "ours", network)
        if with_peer:
            peer[network.name] = measured(store, "peer", network)
        rows.append(network_row(network, ours[network.name], peer.get(network.name)))
        print(f"{rows[-1].case}\n    {rows[-1].peer}", file=sys.stderr, flush=True)
    yield from summary(ours, peer if with_peer else None)
    for name, found in speeds.items():
        yield from speed_rows(name, found)
    if FINISHES in ours:
        beside = f"{PEER}: {_told(peer[FINISHES])}" if with_peer else f"{PEER} is not installed"
        yield at_most(f"{FINISHES}: grouping and cutting", ours[FINISHES]["seconds"], "s", LIMIT_S, beside)
    yield from rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}, and no speeds")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="measurements made and to be made; else none kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    arguments = parser.parse_args()
    found = peer_version()
    if found is None:
        print(f"{PEER} is not installed, so rows have no peer; run `pip install -e .[benchmark]`", file=sys.stderr)
    elif found != PEER_VERSION:
        parser.error(f"expected {PEER} {PEER_VERSION}, found {found}; run `pip install -e .[benchmark]`")
    chosen = networks(QUICK if arguments.quick else arguments.networks)
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(arguments.work or Path(temporary))
        rows = list(run(store, chosen, with_peer=found is not None, with_speed=not arguments.quick))
    print(markdown(rows))
    if arguments.json is not None:
        options = " --quick" * arguments.quick + f" --networks {' '.join(arguments.networks)}" * bool(
            arguments.networks
        )
        report = {"command": f"python -m benchmarks.pruning_coverage{options}", "environment": environment()}
        write_json(arguments.json, {**report, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
