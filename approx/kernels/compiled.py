"""Compiled kernels: built at first use, kept in the process and, where they can be linked, on disk.

A cache entry is a shared library followed by the SHA-256 of its bytes (the loader ignores what follows the
library), so that a half-written or damaged entry is recognised before it is mapped and is built again.
Entries are written beside their final name and moved there, which makes several processes safe: whoever comes
last wins, with the same contents.

The folder is `PICOJOULE_CACHE`, by default `~/.cache/picojoule`. An entry is named after the kernel, the
instruction set, and a hash of the kernel's source and the TVM version. Without a linker
(`tvm_adapter.can_link`) kernels are compiled in every process, a quarter of a second each.

A wheel brings entries of its own (`shipping.py`), which are looked at first: with them only `tvm_ffi` is needed.
"""

import hashlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .. import tvm_adapter

_LOG = logging.getLogger(__name__)
_DIGEST_BYTES = hashlib.sha256().digest_size
_LOCK = threading.Lock()
_LOADED: dict[Any, Callable[..., None]] = {}
Kernel = TypeVar("Kernel")


def cache_folder() -> Path:
    """Folder of compiled kernels: `PICOJOULE_CACHE`, or `~/.cache/picojoule`."""
    return Path(os.environ.get("PICOJOULE_CACHE") or Path.home() / ".cache" / "picojoule") / "kernels"


def shipped_folder() -> Path:
    """Folder of the kernels that came with picojoule; there is none in a source checkout."""
    return Path(__file__).with_name("shipped")


def kernel_problem() -> str | None:
    """Says why kernels cannot be used on this machine, or None where they can. Imports nothing."""
    problem = tvm_adapter.tvm_problem()
    if problem is not None and tvm_adapter.ffi_problem() is None and _ships(tvm_adapter.host_isa()):
        return None
    return problem


@cache
def _ships(isa: str) -> bool:
    return sys.platform == "linux" and any(shipped_folder().glob(f"*-{isa}-*.so"))


def compiled(kernel: Kernel, name: str, isa: str, script: Callable[[Kernel], Any], source: Path) -> Callable[..., None]:
    """Returns a kernel ready to call with torch tensors, compiling it if no cache has it.

    Args:
        kernel: the kernel's class, hashable; the key inside the process.
        name: symbol of the compiled function.
        isa: instruction set, as named by `tvm_adapter.host_isa`.
        script: makes the TVM function of a class; called only when the kernel has to be compiled.
        source: file that holds `script`, whose contents are part of the cache key.

    Raises:
        ImportError: TVM cannot be used.
    """
    with _LOCK:
        if kernel not in _LOADED:
            _LOADED[kernel] = _load_or_build(kernel, name, isa, script, source)
        return _LOADED[kernel]


def forget() -> None:
    """Forgets the kernels held by this process; the next use reads the disk cache again."""
    with _LOCK:
        _LOADED.clear()


def _load_or_build(kernel: Kernel, name: str, isa: str, script: Callable[[Kernel], Any], source: Path) -> Any:
    file = entry_file(name, isa, source)
    entry = cache_folder() / file
    for known in (shipped_folder() / file, entry):
        if sys.platform == "linux" and is_whole(known):
            try:
                return tvm_adapter.load_shared(known)[name]
            except AttributeError:
                _LOG.warning("kernel cache entry %s holds another kernel; compiling again", known)
    executable = build(kernel, name, isa, script)
    if tvm_adapter.can_link():
        write(executable, entry)
    return executable[name]


def build(kernel: Kernel, name: str, isa: str, script: Callable[[Kernel], Any]) -> Any:
    """Compiles a kernel for an instruction set, this machine's or another.

    Raises:
        ImportError: TVM cannot be used.
    """
    tvm = tvm_adapter.require_tvm()
    return tvm.compile(tvm.IRModule({name: script(kernel)}), target=tvm_adapter.isa_target(isa))


def entry_file(name: str, isa: str, source: Path) -> str:
    """File name of a kernel's entry."""
    return f"{name}-{isa}-{_source_hash(source)}.so"


@cache
def _source_hash(source: Path) -> str:
    versions = f"{tvm_adapter.TVM_VERSIONS[0]} {tvm_adapter.TVM_FFI_VERSIONS[0]}"
    return hashlib.sha256(versions.encode() + source.read_bytes()).hexdigest()[:16]


def is_whole(entry: Path) -> bool:
    """Whether an entry is there, and is what was written."""
    try:
        contents = entry.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        warnings.warn(f"kernel cache entry {entry} cannot be read ({error}); compiling again", stacklevel=2)
        return False
    library, digest = contents[:-_DIGEST_BYTES], contents[-_DIGEST_BYTES:]
    if hashlib.sha256(library).digest() == digest:
        return True
    _LOG.warning("kernel cache entry %s is damaged; compiling again", entry)
    return False


def write(executable: Any, entry: Path) -> None:
    """Writes an entry, whole or not at all; a folder that cannot be written is a warning."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent) as folder:
            library = Path(folder) / entry.name
            tvm_adapter.export_shared(executable, library)
            with library.open("ab") as stream:
                stream.write(hashlib.sha256(library.read_bytes()).digest())
            os.replace(library, entry)
    except OSError as error:
        warnings.warn(
            f"cannot write the kernel cache {entry.parent} ({error}): kernels are compiled again in every "
            "process; set PICOJOULE_CACHE to a writable folder",
            stacklevel=2,
        )
