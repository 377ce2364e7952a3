"""Circuit libraries by name or path."""

from pathlib import Path

from multipliers import Library, default_library, load_evoapprox
from picojoule.data import data_folders
from picojoule.errors import UserError


def open_library(name: str, root: str | None = None) -> Library:
    """A library of circuits.

    Args:
        name: "default" (generated), "evoapprox" (looked for as `multipliers` in the data folders), a saved library
            (.npz), or a folder that holds the tables and figures of an EvoApprox release.
        root: the data root that "evoapprox" is looked for in first.

    Raises:
        UserError: there is no such library.
    """
    if name == "default":
        return default_library()
    if name == "evoapprox":
        folders = [folder / "multipliers" for folder in data_folders(root)]
        found = [folder for folder in folders if folder.is_dir()]
        if not found:
            raise UserError(
                f"EvoApprox circuits: no folder {' or '.join(map(str, folders))}; put the tables (.npz) and figures "
                '(.csv) there, or use the generated library, "default"'
            )
        return load_evoapprox(found[0])
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f'library {name!r}: expected "default", "evoapprox", a .npz file or a folder; nothing is there')
    return load_evoapprox(path) if path.is_dir() else Library.load(path)
