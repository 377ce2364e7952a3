"""Reads what picojoule needs of an ELF file: sizes of sections, addresses of symbols, segments to load.

Little-endian ELF32 and ELF64 (System V ABI, "Object files").
"""

import struct
from dataclasses import dataclass
from pathlib import Path

_SYMBOLS, _NO_BITS, _LOAD = 2, 8, 1
_WRITE, _ALLOC = 1, 2

_HEADER = {1: "<HHIIIIIHHHHHH", 2: "<HHIQQQIHHHHHH"}
_SECTION = {1: "<IIIIIIIIII", 2: "<IIQQQQIIQQ"}
_SYMBOL = {1: "<IIIBBH", 2: "<IBBHQQ"}


@dataclass(frozen=True)
class Segment:
    """Bytes to place at `address` before the program starts; `load` is where they lie in flash."""

    address: int
    load: int
    data: bytes


@dataclass(frozen=True)
class ElfFile:
    """What an object file or image occupies.

    Attributes:
        flash_bytes: code, constants and initial values of variables.
        ram_bytes: variables, initialised and not.
        symbols: address by name.
        segments: loadable bytes of an image; empty for object files.
    """

    flash_bytes: int
    ram_bytes: int
    symbols: dict[str, int]
    segments: tuple[Segment, ...]


def read_elf(path: Path) -> ElfFile:
    """Reads an ELF file.

    Raises:
        ValueError: it is none.
    """
    data = path.read_bytes()
    if data[:4] != b"\x7fELF" or data[5] != 1:
        raise ValueError(f"{path} is no little-endian ELF file; build it again")
    bits = data[4]
    header = struct.unpack_from(_HEADER[bits], data, 16)
    sections = [struct.unpack_from(_SECTION[bits], data, header[5] + index * header[10]) for index in range(header[11])]
    flash = ram = 0
    symbols: dict[str, int] = {}
    for section in sections:
        _, kind, flags, _, offset, size, link, _, _, entry = section
        if flags & _ALLOC:
            ram += size if flags & _WRITE else 0
            flash += 0 if kind == _NO_BITS else size
        if kind == _SYMBOLS:
            names = sections[link][4]
            symbols |= _read_symbols(data[offset : offset + size], data[names:], bits, entry)
    segments = tuple(_read_segments(data, bits, header))
    return ElfFile(flash, ram, symbols, segments)


def _read_symbols(table: bytes, names: bytes, bits: int, entry: int) -> dict[str, int]:
    symbols = {}
    for start in range(0, len(table), entry):
        fields = struct.unpack_from(_SYMBOL[bits], table, start)
        name = names[fields[0] : names.index(b"\0", fields[0])].decode("ascii", "replace")
        if name:
            symbols[name] = fields[1] if bits == 1 else fields[4]
    return symbols


def _read_segments(data: bytes, bits: int, header: tuple[int, ...]) -> list[Segment]:
    segments = []
    for index in range(header[9]):
        start = header[4] + index * header[8]
        if bits == 1:
            kind, offset, address, load, size = struct.unpack_from("<IIIII", data, start)
        else:
            kind, _, offset, address, load, size = struct.unpack_from("<IIQQQQ", data, start)
        if kind == _LOAD and size:
            segments.append(Segment(address, load, data[offset : offset + size]))
    return segments
