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
        with data:
            yield data
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path}: truncated or no .npz file ({error}); copy or make it again") from error
