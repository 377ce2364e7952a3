"""A front on disk: front.json, some of its points as assignments that users edit, what was measured, and pictures."""

import re
from collections.abc import Sequence
from pathlib import Path

from noise_models import Front, FrontPoint
from picojoule.errors import UserError
from picojoule.files import Json, write_json

FRONT, UNIFORM, MEASURED = "front.json", "uniform.json", "measured.json"
PICTURES = ("front.svg", "front.png")
WORK = ".work"
"""Folder of measurements, kept so that a later command with more points begins where this one ended."""
_OURS = {FRONT, UNIFORM, MEASURED, *PICTURES, WORK}
_NUMBERED = re.compile(r"assignment\d+\.json")


def check_front_folder(folder: Path) -> None:
    """Refuses a folder that holds anything but an earlier front.

    Raises:
        UserError: it does; names a file.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder for the front, got a file; choose another folder")
    others = [p.name for p in folder.iterdir() if p.name not in _OURS and not p.match("assignment*.json")]
    if others:
        raise UserError(f"{folder} holds other files ({others[0]}); choose another folder")


def write_front(folder: Path, front: Front, baseline: Front, points: Sequence[FrontPoint]) -> list[Path]:
    """Writes the front and points of it, in place of an earlier one.

    Args:
        folder: made where it is missing.
        front: all points.
        baseline: one circuit everywhere.
        points: to write as assignments, cheapest first.

    Returns:
        The assignments' files.
    """
    check_front_folder(folder)
    write_json(folder / FRONT, front.to_json())
    write_json(folder / UNIFORM, baseline.to_json())
    files = [folder / f"assignment{number}.json" for number in range(len(points))]
    for path, point in zip(files, points, strict=True):
        write_json(path, point.assignment.to_json())
    for old in list(folder.iterdir()):  # copies by other names, such as assignment2_edited.json, are the user's
        if old.name == MEASURED or (_NUMBERED.fullmatch(old.name) and old not in files):
            old.unlink(missing_ok=True)
    return files


def write_measured(folder: Path, measured: Json) -> None:
    """Writes the table of what was measured."""
    write_json(folder / MEASURED, measured)
