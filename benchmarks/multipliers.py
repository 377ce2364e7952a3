"""Circuits: how fast a netlist becomes a costed multiplier, and how far the figures can be trusted.

    python -m benchmarks.multipliers [--quick] --json FILE

One thread, but for the shipped library (two processes). Rank correlation is over all distinct circuits that the
families give at 8 x 8 bits, unsigned and signed; `--quick` takes every eighth and leaves the shipped library out.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks._report import Row, at_least, at_most, publish, seconds
from multipliers import CELL_LIBRARIES, DEFAULT_CELLS, Multiplier, characterise, generate
from multipliers.families import Family
from multipliers.families.registry import members
from multipliers.importers import import_circuits
from multipliers.importers.table_pair import import_table_pairs
from multipliers.netlist import Netlist
from multipliers.readers import read_verilog
from multipliers.shipped_library import make_shipped_library
from multipliers.writers.verilog import write_verilog

READ_NAMES = ("exact", "array", "booth", "mitchell", "drum4", "roba", "tosam_h2t5", "cr8", "momeni1_c16", "ilm2")
EVOAPPROX = Path(__file__).resolve().parents[2] / "shared" / "data" / "multipliers"
ERROR_FIGURES = 6
SAME_FUNCTION = ("trunc2", "trunc3", "trunc4", "optrunc1", "optrunc2", "optrunc3")


def reading_rows(rounds: int) -> list[Row]:
    """Verilog text on disk to product table, area, delay and energy; medians per circuit."""
    medians, gates = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in READ_NAMES:
            netlist = generate(f"mul8u_{name}").netlist
            assert netlist is not None
            path = Path(folder, f"{name}.v")
            path.write_text(write_verilog(netlist))
            gates[name] = len(netlist.gates)
            medians[name] = statistics.median(seconds(partial(_read, path)) for _ in range(rounds))
    slowest = max(medians, key=lambda name: medians[name])
    middle = statistics.median(medians.values())
    case = "read Verilog, evaluate 65,536 pairs, characterise"
    return [
        at_most(f"{case}: median of {len(medians)} circuits", 1e3 * middle, "ms", 100),
        at_most(f"{case}: slowest ({slowest}, {gates[slowest]} gates)", 1e3 * medians[slowest], "ms", 100),
    ]


def _read(path: Path) -> None:
    netlist = read_verilog(path)
    netlist.product_table()
    characterise(netlist, DEFAULT_CELLS)


def ranking_rows(step: int) -> list[Row]:
    """Do two technologies order the circuits alike?"""
    rows = []
    for signed in (False, True):
        circuits = _distinct(members(8, 8, signed=signed)[::step])
        energies = {
            name: np.array([characterise(circuit, cells).energy_pj for circuit in circuits])
            for name, cells in CELL_LIBRARIES.items()
        }
        value = spearman(*energies.values())
        case = f"energy ranking of {len(circuits)} {'signed' if signed else 'unsigned'} 8x8 circuits"
        rows.append(at_least(case, value, "Spearman", 0.97, f"{' against '.join(energies)}"))
    return rows


def _distinct(families: Sequence[Family]) -> list[Netlist]:
    netlists = {netlist.product_table().tobytes(): netlist for netlist in (family.netlist(8) for family in families)}
    return list(netlists.values())


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation; ties share their mean rank."""
    ranks = []
    for values in (x, y):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def shipped_rows() -> list[Row]:
    """The whole shipped library from nothing."""
    elapsed = seconds(lambda: make_shipped_library(workers=2))
    return [at_most("shipped library regenerated, 2 processes", elapsed, "s", 300)]


def published_rows() -> list[Row]:
    """Published error figures of EvoApproxLib lite that its own tables confirm."""
    if not EVOAPPROX.is_dir():
        print(f"{EVOAPPROX} is not there: published figures are not checked")
        return []
    outcome = import_table_pairs(EVOAPPROX)
    total = ERROR_FIGURES * len(outcome.library)
    peer = "one of them, the MAE of mul8s_1KRC, is truncated in print instead of rounded"
    right = total - len(outcome.mismatches)
    return [at_least(f"published error figures confirmed, of {total}", right, "figures", total, peer)]


def energy_rows() -> list[Row]:
    """Our relative energy and area beside the published ones, of circuits that compute the very same function."""
    if not EVOAPPROX.is_dir():
        return []
    published = {m.content_hash: m for m in import_circuits(EVOAPPROX).library.values()}
    exact = generate("mul8s_exact")
    exact_peer = published[exact.content_hash]
    rows = []
    for name in SAME_FUNCTION:
        ours = generate(f"mul8s_{name}")
        peer = published[ours.content_hash]
        case = f"mul8s_{name}, the function of {peer.name}"
        told = f"published {peer.energy_relative:.3f}"
        rows.append(Row(f"energy of {case}", ours.energy_relative, "x exact", peer=told))
        areas = [_area(circuit) / _area(of) for circuit, of in ((ours, exact), (peer, exact_peer))]
        rows.append(Row(f"area of {case}", areas[0], "x exact", peer=f"published {areas[1]:.3f}"))
    return rows


def _area(circuit: Multiplier) -> float:
    assert circuit.area_um2 is not None
    return circuit.area_um2


def main() -> None:
    """Run and print; see the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="at most a minute on 2 cores")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    rows = reading_rows(rounds=5 if options.quick else 15)
    rows += ranking_rows(step=8 if options.quick else 1)
    rows += published_rows() + energy_rows()
    if not options.quick:
        rows += shipped_rows()
    publish("benchmarks.multipliers", rows, options.json)


if __name__ == "__main__":
    main()
