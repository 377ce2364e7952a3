"""What the kernels need to know of a product table, found once: value range, row span, exact factorisation.

A result is kept in the process by the table's content, and on disk in the kernel cache as `table-<key>.npz`,
where the key hashes the table and the source of the analysis. An archive is followed by the SHA-256 of its bytes
(readers of npz ignore what follows), and a factorisation read from disk has to rebuild its table; an entry that
fails either is found again and replaced.
"""

import hashlib
import io
import logging
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import torch

from .compiled import cache_folder
from .factorisation import Factorisation, factorise
from .geometry import check_table
from .row_data import row_span

MAX_PLANES = 5
"""Planes up to which int8 products are worth having instead of look-ups."""

_LOG = logging.getLogger(__name__)
_SOURCES = ("analysis.py", "balance.py", "factorisation.py", "lattice.py", "narrow.py")
_PARTS = tuple(field.name for field in fields(Factorisation))
_DIGEST_BYTES = hashlib.sha256().digest_size
_CACHED_TABLES = 512
_LOCK = threading.Lock()
_KNOWN: OrderedDict[bytes, "TableAnalysis"] = OrderedDict()


@dataclass(frozen=True, eq=False)
class TableAnalysis:
    """Properties of a layer table.

    Attributes:
        lowest: its smallest product.
        highest: its largest product.
        row_span: largest difference of two products of one weight.
        factorisation: at most MAX_PLANES int8 planes that equal the table; None where none were found.
    """

    lowest: int
    highest: int
    row_span: int
    factorisation: Factorisation | None


def analyse(table: torch.Tensor) -> TableAnalysis:
    """Analyses a table, or returns what is known of one with the same content; deterministic.

    Args:
        table: products, int32 [n_w, 256], on the CPU.

    Raises:
        ValueError: the table has another dtype, shape or memory layout.
    """
    check_table(table)
    contents = table.numpy().tobytes()
    digest = hashlib.sha256(contents).digest()
    with _LOCK:
        if digest not in _KNOWN:
            lowest, highest = table.aminmax()
            factors = _factors(table, digest)
            _KNOWN[digest] = TableAnalysis(int(lowest), int(highest), row_span(table), factors)
        _KNOWN.move_to_end(digest)
        while len(_KNOWN) > _CACHED_TABLES:
            _KNOWN.popitem(last=False)
        return _KNOWN[digest]


def forget() -> None:
    """Forgets what this process knows; the next use reads the disk cache again."""
    with _LOCK:
        _KNOWN.clear()


def _factors(table: torch.Tensor, digest: bytes) -> Factorisation | None:
    entry = cache_folder() / f"table-{hashlib.sha256(_source() + digest).hexdigest()[:32]}.npz"
    try:
        return _read(entry, table)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        _LOG.warning("kernel cache entry %s cannot be used (%s); analysing the table again", entry, error)
    found = factorise(table, MAX_PLANES)
    _write(entry, found)
    return found


@cache
def _source() -> bytes:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _SOURCES)).digest()


def _read(entry: Path, table: torch.Tensor) -> Factorisation | None:
    """The factorisation of an entry; None if the entry says that there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of another table.
    """
    contents = entry.read_bytes()
    archive, digest = contents[:-_DIGEST_BYTES], contents[-_DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        raise ValueError("it is damaged")
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        if not arrays["found"]:
            return None
        found = Factorisation(*(torch.from_numpy(arrays[name]) for name in _PARTS))
    if not torch.equal(found.table(), table):
        raise ValueError("it stands for another table")
    return found


def _write(entry: Path, found: Factorisation | None) -> None:
    parts = {} if found is None else {name: getattr(found, name).numpy() for name in _PARTS}
    stream = io.BytesIO()
    np.savez_compressed(stream, found=np.array(found is not None), **parts)
    archive = stream.getvalue()
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent) as folder:
            fresh = Path(folder) / entry.name
            fresh.write_bytes(archive + hashlib.sha256(archive).digest())
            os.replace(fresh, entry)
    except OSError as error:
        warnings.warn(
            f"cannot write the kernel cache {entry.parent} ({error}): tables are analysed again in every "
            "process; set PICOJOULE_CACHE to a writable folder",
            stacklevel=2,
        )
