"""Reading `.npz` archives: never pickled, and a damaged one is one clear error."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def open_archive(path: str | Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The arrays of a `.npz` file by name, while the block lasts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged, or no `.npz` file.
    """
    try:
        data = np.load(Path(path), allow_pickle=False)
        if not isinstance(data, np.lib.npyio.NpzFile):
            raise zipfile.BadZipFile("it holds a single array")
    except (*_DAMAGE, ValueError) as error:
        raise _damaged(path, error) from error
    with data:
        try:
            yield data
        except _DAMAGE as error:
            raise _damaged(path, error) from error


_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def _damaged(path: str | Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: truncated or no .npz file ({error}); copy or make it again")
