"""Takes the text of a netlist file, and tells which of its modules is the circuit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from multipliers.readers.errors import NetlistError
from multipliers.readers.limits import MAX_BYTES


def read_text(path: str | Path) -> str:
    """Text of a file; bytes that are not UTF-8 (they occur in comments) become replacement characters.

    Raises:
        NetlistError: if it is too large to be a netlist.
        OSError: if it cannot be opened.
    """
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise NetlistError(f"expected a file of at most {MAX_BYTES} bytes, got {size}", None, str(path))
    return Path(path).read_text(encoding="utf-8", errors="replace")


def pick_top(used: Mapping[str, Collection[str]], vectors: Collection[str], top: str | None) -> str:
    """Name of the module that is the circuit.

    Args:
        used: for every module the cells it instantiates.
        vectors: modules with a port of several bits; definitions of cells have none.
        top: what the caller says; None takes the only module that no other instantiates.

    Raises:
        NetlistError: if there is no such module or more than one.
    """
    if top is not None:
        if top in used:
            return top
        raise NetlistError(f"no module '{top}'; the file has {', '.join(used) or 'none'}")
    inner = {cell for name, cells in used.items() for cell in cells if cell != name}
    roots = [name for name in used if name not in inner]
    circuits = [name for name in roots if name in vectors] or roots
    if len(circuits) != 1:
        found = ", ".join(circuits) or "none"
        raise NetlistError(f"expected one module that no other one instantiates, got {found}: name it (top=, --top)")
    return circuits[0]
