"""Finds the reader for whatever is to be imported."""

from __future__ import annotations

from pathlib import Path

from multipliers.importers.c_table import TableReading, import_c_tables
from multipliers.importers.netlist_folder import SUFFIXES, Progress, Reading, import_netlists, netlist_files
from multipliers.importers.outcome import Import
from multipliers.importers.table_pair import import_table_pairs, is_table_pair
from multipliers.library import Library

_C = (".h", ".c", ".hpp", ".inc")


def import_circuits(
    path: str | Path,
    reading: Reading | None = None,
    table: TableReading | None = None,
    progress: Progress | None = None,
) -> Import:
    """Circuits from a checkout of EvoApproxLib, netlists, a table pair, a C header, or a saved library.

    Args:
        path: a folder (every netlist below it, and the pairs X.csv + X.npz in it), a Verilog or Yosys
            JSON file, either file of a pair, a C header, or a file written by ``Library.save``.
        reading: how to read netlists.
        table: what a C header does not tell; needed for one.
        progress: called with (done, total, name) before every netlist of a folder.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: nothing in it can be read, or a single file is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "no such file or folder", str(path))
    if path.is_dir():
        return _import_folder(path, reading or Reading(), progress)
    if path.suffix.lower() in SUFFIXES:
        return import_netlists(path, reading or Reading())
    if path.suffix in _C:
        if table is None:
            raise ValueError(f"{path}: a C table has no energy; give that of the circuit relative to an exact one")
        return import_c_tables(path, table)
    if path.suffix == ".csv" or path.with_suffix(".csv").is_file():
        return import_table_pairs(path)
    if path.suffix == ".npz":
        return Import(Library.load(path))
    raise ValueError(f"{path}: expected Verilog (.v), Yosys JSON, .npz, .csv or a C header; cannot tell what this is")


def _import_folder(path: Path, reading: Reading, progress: Progress | None) -> Import:
    parts = []
    if netlist_files(path):
        parts.append(import_netlists(path, reading, progress))
    if any(is_table_pair(file) for file in path.glob("*.csv")):
        parts.append(import_table_pairs(path))
    if not parts:
        raise ValueError(f"{path}: expected netlists (.v, .json), or pairs X.csv + X.npz; found neither")
    outcome = Import.joined(parts)
    if not outcome.library:
        reasons = "; ".join(map(str, outcome.skipped[:3]))
        raise ValueError(f"{path}: none of {len(outcome.skipped)} files is a circuit: {reasons}")
    return outcome
