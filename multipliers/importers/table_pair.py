"""Reads EvoApproxLib multipliers from a ``.npz`` (product tables) and ``.csv`` (published figures) pair.

EvoApproxLib: Mrazek, Hrbacek, Vasicek, Sekanina, "EvoApprox8b", DATE 2017, and the later "lite" releases
    (MIT). The published error figures are never trusted: they are recomputed from the table and compared.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multipliers.archive import open_archive
from multipliers.importers.outcome import Import
from multipliers.importers.published import Printed, mismatches
from multipliers.library import Library
from multipliers.multiplier import Multiplier
from multipliers.provenance import Provenance

EXACT_ENERGY_PJ = 0.2
"""Energy of an exact 8-bit integer multiplication, 45 nm, 0.9 V (Horowitz, ISSCC 2014; read second-hand)."""

_COLUMNS = (
    ("mae", "mae", 1.0),
    ("wce", "wce", 1.0),
    ("wcre_percent", "wcre", 100.0),
    ("ep_percent", "ep", 100.0),
    ("mre_percent", "mre", 100.0),
    ("mse", "mse", 1.0),
)


def load_evoapprox(folder: str | Path) -> Library:
    """Load every EvoApproxLib pair ``X.npz`` + ``X.csv`` of a folder; published errors must agree with the tables.

    Args:
        folder: see ``import_table_pairs``.

    Raises:
        ValueError: if a file is missing or malformed, or a published error figure contradicts the table.
    """
    outcome = import_table_pairs(folder)
    if outcome.mismatches:
        raise ValueError(
            f"{outcome.mismatches[0]}; wrong table, operand order or release (names are not stable across releases)"
        )
    return outcome.library


def import_table_pairs(path: str | Path) -> Import:
    """Import ``X.npz`` (tables) + ``X.csv`` (published figures): one pair, or all of a folder.

    The CSV has the columns name, signed, bits ("8x8"), power_mw, area_um2, delay_ns, mae, wce, wcre_percent,
    ep_percent, mre_percent, mse; the ``.npz`` one integer table [2**width_a, 2**width_b] per name.

    Args:
        path: the folder, or either file of a pair.

    Returns:
        the circuits in the order of the CSV, with the published error figures that the tables contradict.
        ``energy_relative`` is the published PDK45 power divided by that of the exact circuit with the same
        signedness in the same CSV; ``energy_pj`` is that times 0.2 pJ.

    Raises:
        ValueError: if a file is missing or malformed.
    """
    path = Path(path)
    listed = sorted(path.glob("*.csv")) if path.is_dir() else [path.with_suffix(".csv")]
    pairs = [file for file in listed if is_table_pair(file)] if path.is_dir() else [f for f in listed if _is_pair(f)]
    if not pairs:
        raise ValueError(f"{path}: expected an EvoApproxLib pair X.csv + X.npz, found none")
    return Import.joined(_import_pair(file) for file in pairs)


def is_table_pair(path: Path) -> bool:
    """Whether a CSV file lists circuits and has its tables beside it: other data may lie in the same folder."""
    if not _is_pair(path):
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return {"name", "signed", "bits"} <= {column.strip() for column in file.readline().split(",")}


def _is_pair(path: Path) -> bool:
    return path.is_file() and path.with_suffix(".npz").is_file()


def _import_pair(path: Path) -> Import:
    rows = _read_rows(path)
    with open_archive(path.with_suffix(".npz")) as data:
        missing = [row["name"] for row in rows if row["name"] not in data]
        if missing:
            raise ValueError(f"{path.with_suffix('.npz')}: no table for {', '.join(missing)} listed in {path.name}")
        tables = {row["name"]: data[row["name"]] for row in rows}
    reference = {row["signed"]: _exact_power_mw(path, rows, row["signed"]) for row in rows}
    circuits = [_multiplier(path, row, tables[row["name"]], reference[row["signed"]]) for row in rows]
    wrong = [
        mismatch
        for row, circuit in zip(rows, circuits, strict=True)
        for mismatch in mismatches(circuit, _printed(path, row), str(path))
    ]
    return Import(Library(circuits), tuple(wrong))


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        expected = {
            "name",
            "signed",
            "bits",
            "power_mw",
            "area_um2",
            "delay_ns",
            *(c for c, _, _ in _COLUMNS),
        }
        absent = sorted(expected - set(reader.fieldnames or ()))
        if absent:
            raise ValueError(f"{path}: missing column(s) {', '.join(absent)}")
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if any(row[column] in (None, "") for column in expected):
            raise ValueError(f"{path}, line {number}: incomplete row {row['name']!r}")
        if row["signed"] not in ("0", "1"):
            raise ValueError(f"{path}, line {number}: signed must be 0 or 1, got {row['signed']!r}")
    return rows


def _exact_power_mw(path: Path, rows: list[dict[str, str]], signed: str) -> float:
    powers = [_number(path, row, "power_mw") for row in rows if row["signed"] == signed and float(row["wce"]) == 0]
    if not powers or min(powers) <= 0:
        kind = "signed" if signed == "1" else "unsigned"
        raise ValueError(f"{path}: no exact {kind} circuit (wce 0, power > 0) to relate power to")
    return min(powers)


def _multiplier(path: Path, row: Mapping[str, str], table: np.ndarray, exact_power_mw: float) -> Multiplier:
    widths = row["bits"].split("x")
    if len(widths) != 2 or not all(width.isdigit() for width in widths):
        raise ValueError(f"{path}, '{row['name']}': bits must read like '8x8', got {row['bits']!r}")
    relative = _number(path, row, "power_mw") / exact_power_mw
    return Multiplier(
        name=row["name"],
        function=table,
        signed=row["signed"] == "1",
        width_a=int(widths[0]),
        width_b=int(widths[1]),
        energy_pj=relative * EXACT_ENERGY_PJ,
        energy_relative=relative,
        area_um2=_number(path, row, "area_um2"),
        delay_ns=_number(path, row, "delay_ns"),
        provenance=Provenance(
            source=f"EvoApproxLib ({path.stem}), published PDK45 power, area and delay",
            node="45 nm, 0.9 V",
            method=(
                "energy_relative = published PDK45 power / power of the exact circuit of the same "
                f"signedness; energy_pj = energy_relative x {EXACT_ENERGY_PJ} pJ (45 nm int8 multiplication, "
                "Horowitz ISSCC 2014). "
                "The absolute scale dominates the uncertainty; ratios are as printed (2 to 3 digits)"
            ),
            uncertainty=0.3,
        ),
    )


def _printed(path: Path, row: Mapping[str, str]) -> list[Printed]:
    for column, _, _ in _COLUMNS:
        _number(path, row, column)
    return [Printed(column, field, scale, row[column]) for column, field, scale in _COLUMNS]


def _number(path: Path, row: Mapping[str, str], column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise ValueError(f"{path}, '{row['name']}': {column} must be a number, got {row[column]!r}") from None
