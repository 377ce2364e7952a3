"""Files that are either whole or absent, and the hashes that tell whether they changed."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Json = Any  # None, bool, int, float, str, lists and string-keyed dicts of them
_CHUNK = 1 << 20


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written to it replaces `path` when the block ends without an error.

    Whoever reads `path` meanwhile, or after a kill at any point, sees the old file or the new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Json) -> None:
    """Writes a JSON file atomically, indented, keys in the order given.

    Raises:
        ValueError: the value holds something that is no JSON (NaN and infinities included).
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")


def read_json(path: str | Path) -> Json:
    """Reads a JSON file.

    Raises:
        ValueError: the file is not JSON; names it.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: broken JSON: {error.msg}; restore or delete the file") from error


def _plain(value: object) -> Json:
    """Numpy and torch scalars as Python numbers, paths as text; anything else is refused."""
    item: Callable[[], Json] | None = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", 0) == 0:
        return item()
    if isinstance(value, Path):
        return value.as_posix()
    raise ValueError(f"expected a JSON value (number, text, list, dict), got {type(value).__name__}")


def canonical_json(value: Json) -> str:
    """One text per value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def hash_json(value: Json) -> str:
    """SHA-256 (hexadecimal) of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_file(path: str | Path) -> str:
    """SHA-256 (hexadecimal) of a file's contents."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def hash_tree(folder: str | Path) -> dict[str, str]:
    """Hash of every file below a folder: relative path with "/" -> SHA-256, sorted by path."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}
