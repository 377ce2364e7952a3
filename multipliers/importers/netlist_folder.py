"""Imports gate-level circuits: one Verilog or Yosys JSON file, a folder of them, or a checkout of EvoApproxLib.

Every circuit is costed by our own flow; figures printed in the headers (or the ``meta.json`` of the release) are kept
beside and the error figures are compared with the circuit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multipliers.characterisation import costed
from multipliers.importers.headers import Header, parse_header
from multipliers.importers.metadata import read_metadata
from multipliers.importers.outcome import Import, Mismatch, Skipped
from multipliers.importers.published import mismatches
from multipliers.library import Library
from multipliers.multiplier import Multiplier
from multipliers.netlist import Netlist
from multipliers.readers.errors import NetlistError
from multipliers.readers.verilog import read_verilog
from multipliers.readers.yosys import read_yosys_json

Progress = Callable[[int, int, str], None]

_MAPPED = "_pdk45"
_SIGN = re.compile(r"mul\d+(?:x\d+)?(?P<sign>[su])(?:_|$)")


@dataclass(frozen=True)
class Reading:
    """How to read the netlists of a source.

    Attributes:
        source: name of the release or collection; the folder's or file's own name when None.
        signed: whether operands are two's complement; when None, from the ports and from names such as mul8s_1KV8.
        operands: port names of operand a and b; A and B (or a and b) when None.
    """

    source: str | None = None
    signed: bool | None = None
    operands: tuple[str, str] | None = None


def import_netlists(path: Path, reading: Reading, progress: Progress | None = None) -> Import:
    """Read one netlist file, or every one below a folder.

    A circuit that lies in several folders is taken once; where the same name stands for different functions, the later
    ones get the first digits of their content hash appended. Of ``X.v`` and ``X_pdk45.v`` (cells mapped to PDK45) the
    mapped file is read: the plain ones of EvoApprox8b 2017 instantiate cells that are not defined.

    Raises:
        NetlistError: a single file cannot be read; in folders such files are skipped, with the reason.
    """
    source = reading.source or path.stem
    if path.is_file():
        metadata: dict[str, Header] = {}
        multiplier, wrong = _import_file(path, Reading(source, reading.signed, reading.operands), metadata)
        return Import(Library([multiplier]), wrong)
    metadata = read_metadata(path, source)
    files = _netlist_files(path)
    circuits: dict[str, Multiplier] = {}
    wrong_all: list[Mismatch] = []
    skipped: list[Skipped] = []
    for number, file in enumerate(files, start=1):
        if progress is not None:
            progress(number, len(files), file.stem)
        try:
            multiplier, wrong = _import_file(file, Reading(source, reading.signed, reading.operands), metadata)
        except NetlistError as error:
            where = "" if error.line is None else f"line {error.line}: "
            skipped.append(Skipped(str(file), where + error.message))
            continue
        kept = _named_apart(multiplier, circuits)
        if kept is not None:
            circuits[kept.name] = kept
            wrong_all.extend(wrong)
    return Import(Library(circuits.values()), tuple(wrong_all), tuple(skipped))


def _netlist_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.rglob("*") if file.suffix == ".v" and file.is_file())
    mapped = {file.with_name(file.stem.removesuffix(_MAPPED) + ".v") for file in files if file.stem.endswith(_MAPPED)}
    return [file for file in files if file not in mapped]


def _import_file(path: Path, reading: Reading, metadata: dict[str, Header]) -> tuple[Multiplier, tuple[Mismatch, ...]]:
    name = path.stem.removesuffix(_MAPPED)
    sign = _SIGN.match(name)
    signed = reading.signed if reading.signed is not None or sign is None else sign["sign"] == "s"
    if path.suffix == ".json":
        netlist = read_yosys_json(path, operands=reading.operands, signed=signed)
    else:
        netlist = read_verilog(path, operands=reading.operands, signed=signed)
    _require_multiplier(path, netlist)
    source = reading.source or path.stem
    header = _published(path, name, source, metadata)
    multiplier = costed(netlist, name=name, source=f"{source}: {path.name}", published=header.figures)
    return multiplier, tuple(mismatches(multiplier, header.errors, str(path)))


def _require_multiplier(path: Path, netlist: Netlist) -> None:
    expected = netlist.width_a + netlist.width_b
    if len(netlist.outputs) != expected:
        raise NetlistError(
            f"expected a multiplier with {expected} product bits for {netlist.width_a} x {netlist.width_b}, "
            f"got {len(netlist.outputs)}; is it an adder?",
            file=str(path),
        )


def _published(path: Path, name: str, source: str, metadata: dict[str, Header]) -> Header:
    """The first header that prints anything: of the file, its plain Verilog or C sibling, or the release's index."""
    siblings = [path, *(path.with_name(name + suffix) for suffix in (".v", ".c"))]
    for file in siblings:
        if file.is_file():
            header = parse_header(file.read_text(encoding="utf-8", errors="replace"), source)
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
