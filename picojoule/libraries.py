"""Circuit libraries by name or path."""

from fnmatch import fnmatchcase
from pathlib import Path

from approx import Assignment
from multipliers import Library, Multiplier, default_library, generate, load_evoapprox
from picojoule.data import data_folders
from picojoule.errors import UserError, did_you_mean


def generated_library(assignment: Assignment | None = None) -> Library:
    """The default library, and the generated circuits that an assignment names beyond it (`mul8u_drum4`).

    Raises:
        UserError: the assignment names a circuit that is neither there nor can be generated.
    """
    library = default_library()
    choices = assignment.layers.values() if assignment else ()
    missing = {name for choice in choices for name in choice.circuits} - set(library)
    return Library([*library.values(), *(_generated(name, library) for name in sorted(missing))])


def _generated(name: str, library: Library) -> Multiplier:
    try:
        return generate(name)
    except ValueError as error:
        hint = did_you_mean(name, library).partition("; known")[0]
        raise UserError(f"the assignment names multiplier {name!r}, which is not shipped{hint}; {error}") from error


def open_library(name: str, root: str | None = None, assignment: Assignment | None = None) -> Library:
    """A library of circuits.

    Args:
        name: "default" (shipped), "evoapprox" (looked for as `multipliers` in the data folders), a saved library
            (.npz), or a folder that holds the tables and figures of an EvoApprox release.
        root: the data root that "evoapprox" is looked for in first.
        assignment: with "default", the generated circuits it names are there too.

    Raises:
        UserError: there is no such library.
    """
    if name == "default":
        return generated_library(assignment)
    if name == "evoapprox":
        folders = [folder / "multipliers" for folder in data_folders(root)]
        found = [folder for folder in folders if folder.is_dir()]
        if not found:
            raise UserError(
                f"EvoApprox circuits: no folder {' or '.join(map(str, folders))} with tables (.npz) and figures "
                "(.csv); import a checkout of github.com/ehw-fit/evoapproxlib (picojoule multipliers import), or use "
                'the shipped library, "default"'
            )
        return load_evoapprox(found[0])
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f'library {name!r}: expected "default", "evoapprox", a .npz file or a folder; nothing is there')
    return load_evoapprox(path) if path.is_dir() else Library.load(path)


def allowed(library: Library, patterns: tuple[str, ...]) -> Library:
    """The circuits whose names match one of the patterns; all without patterns.

    Raises:
        ValueError: a pattern matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in library):
            raise ValueError(f"[select] circuits: {pattern!r} matches none of the library's {len(library)} circuits")
    wanted = [c for name, c in library.items() if not patterns or any(fnmatchcase(name, p) for p in patterns)]
    return Library(wanted)
