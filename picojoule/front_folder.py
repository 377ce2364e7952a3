"""A front on disk: front.json, and some of its points as assignments that users edit."""

from pathlib import Path
from typing import Any

from noise_models import Front
from picojoule.errors import UserError

FRONT = "front.json"


def check_front_folder(folder: Path) -> None:
    """Refuses a folder that holds anything but an earlier front.

    Raises:
        UserError: it does; names a file.
    """
    if not folder.exists():
        return
    others = [p.name for p in folder.iterdir() if p.name != FRONT and not p.match("assignment*.json")]
    if others:
        raise UserError(f"{folder} holds other files ({others[0]}); choose another folder")


def write_front(front: Front, folder: Path, count: int) -> list[dict[str, Any]]:
    """Writes the front and `count` points spread over it, in place of an earlier one.

    Returns:
        A row for each point: file, energy, degradation.
    """
    check_front_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("assignment*.json"):
        old.unlink()
    front.save(folder / FRONT)
    wanted = min(count, len(front))
    numbers = sorted({round(k * (len(front) - 1) / max(1, wanted - 1)) for k in range(wanted)})
    rows = []
    for position, number in enumerate(numbers):
        point, path = front.points[number], folder / f"assignment{position}.json"
        point.assignment.save(path)
        rows.append({"file": str(path), "energy": point.energy, "degradation": point.degradation})
    return rows
