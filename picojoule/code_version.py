"""Hash of our own source code: what was computed by other code is not reused."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from picojoule.errors import OUR_PACKAGES

_SUFFIXES = {".py", ".toml", ".json", ".c", ".h", ".ld", ".jinja"}


@cache
def code_version(*packages: str) -> str:
    """SHA-256 (first 16 hexadecimal digits) of the sources of packages or modules.

    Args:
        packages: import names such as "pruning" or "picojoule.data"; none: all of ours that are installed.

    Raises:
        ValueError: there is no such package.
    """
    digest = hashlib.sha256()
    for name in packages or sorted(p for p in OUR_PACKAGES if importlib.util.find_spec(p) is not None):
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ValueError(f"code_version: expected the name of a package or module, got {name!r}")
        folders = [Path(p) for p in spec.submodule_search_locations or ()]
        sources = [(p.relative_to(f).as_posix(), p) for f in folders for p in f.rglob("*") if p.suffix in _SUFFIXES]
        if not folders and spec.origin is not None:
            sources = [("", Path(spec.origin))]
        for relative, path in sorted(sources):
            digest.update(f"{name}/{relative}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
