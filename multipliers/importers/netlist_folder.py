"""Imports gate-level circuits: one Verilog or Yosys JSON file, a folder of them, or a checkout of EvoApproxLib.

Every circuit is costed by our own flow; figures printed in the headers (or the ``meta.json`` of the release) are kept
beside and the error figures are compared with the circuit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multipliers.characterisation import costed
from multipliers.importers.headers import Header, parse_header
from multipliers.importers.metadata import INDEX, read_metadata
from multipliers.importers.outcome import Import, Mismatch, Skipped
from multipliers.importers.plausible import check_multiplier, check_name, check_sign, named_sign
from multipliers.importers.published import mismatches
from multipliers.library import Library
from multipliers.multiplier import Multiplier
from multipliers.readers.errors import NetlistError
from multipliers.readers.files import read_text
from multipliers.readers.verilog import read_verilog
from multipliers.readers.yosys import read_yosys_json

Progress = Callable[[int, int, str], None]

SUFFIXES = (".v", ".json")
_MAPPED = "_pdk45"


@dataclass(frozen=True)
class Reading:
    """How to read the netlists of a source.

    Attributes:
        source: name of the release or collection; the folder's or file's own name when None.
        signed: whether operands are two's complement; when None, from the ports and from names such as mul8s_1KV8.
        operands: port names of operand a and b; A and B (or a and b) when None.
        top: name of the module, where a file has several that no other instantiates.
    """

    source: str | None = None
    signed: bool | None = None
    operands: tuple[str, str] | None = None
    top: str | None = None


def import_netlists(path: Path, reading: Reading, progress: Progress | None = None) -> Import:
    """Read one netlist file, or every one below a folder.

    A circuit that lies in several folders is taken once; where the same name stands for different functions, the later
    ones get the first digits of their content hash appended. Of ``X.v`` and ``X_pdk45.v`` (cells mapped to PDK45) the
    mapped file is read: the plain ones of EvoApprox8b 2017 instantiate cells that are not defined.

    Raises:
        ValueError: a single file cannot be read; in folders such files are skipped, with the reason.
    """
    reading = dataclasses.replace(reading, source=reading.source or path.stem)
    if path.is_file():
        multiplier, wrong = _import_file(path, reading, {})
        return Import(Library([multiplier]), wrong)
    skipped: list[Skipped] = []
    metadata = _metadata(path, reading, skipped)
    files = netlist_files(path)
    circuits: dict[str, Multiplier] = {}
    wrong_all: list[Mismatch] = []
    for number, file in enumerate(files, start=1):
        if progress is not None:
            progress(number, len(files), file.stem)
        try:
            multiplier, wrong = _import_file(file, reading, metadata)
        except (ValueError, OSError) as error:
            skipped.append(_skipped(file, error))
            continue
        kept = _named_apart(multiplier, circuits)
        if kept is not None:
            circuits[kept.name] = kept
            wrong_all.extend(wrong)
    return Import(Library(circuits.values()), tuple(wrong_all), tuple(skipped))


def netlist_files(folder: Path) -> list[Path]:
    """The files below a folder that may be netlists, mapped ones instead of plain ones."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    mapped = {file.with_name(file.stem.removesuffix(_MAPPED) + ".v") for file in files if file.stem.endswith(_MAPPED)}
    return [file for file in files if file not in mapped and file.name != INDEX]


def _metadata(folder: Path, reading: Reading, skipped: list[Skipped]) -> dict[str, Header]:
    try:
        return read_metadata(folder, str(reading.source))
    except ValueError as error:
        skipped.append(_skipped(folder / INDEX, error))
        return {}


def _skipped(file: Path, error: Exception) -> Skipped:
    """The reason without the file's name, which is told already."""
    if isinstance(error, NetlistError):
        return Skipped(str(file), ("" if error.line is None else f"line {error.line}: ") + error.message)
    return Skipped(str(file), str(error).removeprefix(f"{file}: "))


def _import_file(path: Path, reading: Reading, metadata: dict[str, Header]) -> tuple[Multiplier, tuple[Mismatch, ...]]:
    name = path.stem.removesuffix(_MAPPED)
    signed = named_sign(name) if reading.signed is None else reading.signed
    if path.suffix.lower() == ".json":
        netlist = read_yosys_json(path, top=reading.top, operands=reading.operands, signed=signed)
    else:
        netlist = read_verilog(path, top=reading.top, operands=reading.operands, signed=signed)
    check_multiplier(path, netlist)
    check_name(path, name, netlist)
    if reading.signed is None:
        check_sign(path, netlist)
    header = _published(path, name, str(reading.source), metadata)
    source = f"{reading.source}: {path.name}"
    multiplier = costed(netlist, name=name, source=source, published=header.figures)
    return multiplier, tuple(mismatches(multiplier, header.errors, str(path)))


def _published(path: Path, name: str, source: str, metadata: dict[str, Header]) -> Header:
    """The first header that prints anything: of the file, its plain Verilog or C sibling, or the release's index."""
    siblings = [path, *(path.with_name(name + suffix) for suffix in (".v", ".c"))]
    for file in siblings:
        if file.is_file():
            header = parse_header(read_text(file), source)
            if header.errors or header.figures:
                return header
    return metadata.get(name, Header((), None))


def _named_apart(multiplier: Multiplier, circuits: dict[str, Multiplier]) -> Multiplier | None:
    """The circuit under a free name; None when the same function is already there under its own name."""
    known = circuits.get(multiplier.name)
    if known is None:
        return multiplier
    if known.content_hash == multiplier.content_hash:
        return None
    name = f"{multiplier.name}@{multiplier.content_hash[:8]}"
    return None if name in circuits else multiplier.renamed(name)
