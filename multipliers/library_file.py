"""How a library lies on disk: one ``.npz`` with a JSON header, gates where they are known, tables elsewhere.

Gates are stored as they are (they are small, and uncompressed bytes are the same whatever zlib wrote them); tables
are compressed.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multipliers.archive import open_archive
from multipliers.multiplier import Multiplier
from multipliers.netlist_arrays import NetlistArrays
from multipliers.provenance import Provenance, PublishedFigures

FORMAT = "picojoule-multipliers/2"
_PLAIN = ("name", "signed", "width_a", "width_b", "energy_pj", "energy_relative", "area_um2", "delay_ns")
_GATES = ("kinds", "inputs", "outputs")


def write(path: str | Path, multipliers: Sequence[Multiplier]) -> None:
    """Write circuits as one file; nothing is left behind when it fails."""
    provenances: dict[Provenance, int] = {}
    records: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    gates: dict[str, list[np.ndarray]] = {field: [] for field in _GATES}
    for index, multiplier in enumerate(multipliers):
        record = {field: getattr(multiplier, field) for field in _PLAIN}
        record["provenance"] = provenances.setdefault(multiplier.provenance, len(provenances))
        record["content_hash"] = multiplier.content_hash
        if multiplier.published is not None:
            record["published"] = dataclasses.asdict(multiplier.published)
        if multiplier.netlist is None:
            arrays[f"table_{index}"] = multiplier.table
        else:
            stored = NetlistArrays.of(multiplier.netlist)
            record["gates"] = [getattr(stored, field).size for field in _GATES]
            for field in _GATES:
                gates[field].append(getattr(stored, field))
        records.append(record)
    header = {
        "format": FORMAT,
        "provenances": [dataclasses.asdict(provenance) for provenance in provenances],
        "multipliers": records,
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    arrays["header"] = np.frombuffer(text, dtype=np.uint8)
    arrays.update({f"gate_{field}": np.concatenate(parts) for field, parts in gates.items() if parts})
    _write_archive(Path(path), arrays)


def _write_archive(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy")  # a fixed date: the same library is the same bytes
                entry.create_system = 3  # as on Unix, whatever this is
                entry.compress_type = zipfile.ZIP_DEFLATED if name.startswith("table_") else zipfile.ZIP_STORED
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                archive.writestr(entry, buffer.getvalue())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path) -> list[Multiplier]:
    """The circuits of a file, in order; every function is checked against its recorded hash.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no library, of another version, or damaged.
    """
    with open_archive(path) as data:
        if "header" not in data:
            raise ValueError(f"{path}: not a multiplier library (no 'header'); write it with Library.save")
        try:
            header = json.loads(data["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"expected format '{FORMAT}', got '{header['format']}'; make it again")
            return list(_circuits(header, data))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{path}: no library of circuits, or damaged: {error}") from error


def _circuits(header: dict[str, Any], data: Mapping[str, np.ndarray]) -> Iterator[Multiplier]:
    provenances = [Provenance(**fields) for fields in header["provenances"]]
    gates = {field: data[f"gate_{field}"] for field in _GATES if f"gate_{field}" in data}
    position = dict.fromkeys(_GATES, 0)
    for index, record in enumerate(header["multipliers"]):
        if "gates" in record:
            parts = {}
            for field, size in zip(_GATES, record["gates"], strict=True):
                parts[field] = gates[field][position[field] : position[field] + size]
                position[field] += size
            widths = record["width_a"], record["width_b"]
            function: Any = NetlistArrays(**parts).netlist(record["name"], *widths, record["signed"])
        else:
            function = data[f"table_{index}"]
        yield _restored(record, function, provenances)


def _restored(record: dict[str, Any], function: Any, provenances: Sequence[Provenance]) -> Multiplier:
    published = record.get("published")
    multiplier = Multiplier(
        **{field: record[field] for field in _PLAIN},
        function=function,
        provenance=provenances[record["provenance"]],
        published=PublishedFigures(**published) if published else None,
    )
    if multiplier.content_hash != record["content_hash"]:
        raise ValueError(f"'{multiplier.name}' does not match its recorded hash")
    return multiplier
