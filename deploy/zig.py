"""The C cross-compiler: the `ziglang` wheel, called as a program."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


class BuildError(ValueError):
    """The C compiler refused; the message is its own."""


def run_zig(arguments: Sequence[str], folder: Path) -> None:
    """Runs `zig` in a folder.

    Args:
        arguments: e.g. ["cc", "-c", "net.c"].
        folder: working directory.

    Raises:
        ModuleNotFoundError: the wheel is not installed.
        BuildError: it failed.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise ModuleNotFoundError("building C needs the ziglang wheel: pip install ziglang")
    cache = str(_cache_folder())
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    command = [sys.executable, "-m", "ziglang", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"zig {' '.join(arguments)} failed:\n{result.stderr.strip()}")


def _cache_folder() -> Path:
    """A folder for zig's cache that can be written: the user's cache, else a private temporary folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "picojoule" / "zig"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"picojoule-zig-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise BuildError(f"zig needs a cache folder, {folder} cannot be written; set XDG_CACHE_HOME")
    return folder
