"""`Front`: the solved energy/degradation front. Each point is an `Assignment`.

{"version": 1, "method": "knapsack",
 "points": [{"energy": 0.12, "degradation": 0.03, "assignment": {"version": 1, "layers": {...}}}, ...]}
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from approx import Assignment
from approx.documents import read_document
from noise_models.candidates import Candidate

VERSION = 1


@dataclass(frozen=True, eq=False)
class FrontPoint:
    """One choice for all layers.

    Attributes:
        energy: of all layers, in units of the candidates' cost.
        degradation: predicted, of all layers.
        assignment: the choice.
    """

    energy: float
    degradation: float
    assignment: Assignment

    @classmethod
    def of(cls, chosen: Mapping[str, Candidate]) -> "FrontPoint":
        """The point that takes this candidate in each layer."""
        return cls(
            energy=math.fsum(c.energy for c in chosen.values()),
            degradation=math.fsum(c.degradation for c in chosen.values()),
            assignment=Assignment({name: candidate.choice for name, candidate in chosen.items()}),
        )


@dataclass(frozen=True, eq=False)
class Front:
    """Points none of which another one equals or beats in both energy and degradation.

    Attributes:
        method: how it was found.
        points: cheapest first; degradation falls strictly.
    """

    method: str
    points: tuple[FrontPoint, ...]

    @classmethod
    def of(cls, method: str, points: Iterable[FrontPoint]) -> "Front":
        """The front of any points.

        Raises:
            ValueError: there is no point.
        """
        kept: list[FrontPoint] = []
        for point in sorted(points, key=lambda p: (p.energy, p.degradation)):
            if not kept or point.degradation < kept[-1].degradation:
                kept.append(point)
        if not kept:
            raise ValueError(f"a front ({method}) needs at least one point")
        return cls(method, tuple(kept))

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[FrontPoint]:
        return iter(self.points)

    def cheapest(self, degradation: float) -> FrontPoint:
        """The cheapest point that degrades by at most this much.

        Raises:
            ValueError: there is none; says the least degradation that is possible.
        """
        for point in self.points:
            if point.degradation <= degradation:
                return point
        raise infeasible("degradation", degradation, self.points[-1].degradation)

    def best(self, energy: float) -> FrontPoint:
        """The point with the least degradation that needs at most this energy.

        Raises:
            ValueError: there is none; says the least energy that is possible.
        """
        for point in reversed(self.points):
            if point.energy <= energy:
                return point
        raise infeasible("energy", energy, self.points[0].energy)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the file."""
        points = [
            {"energy": p.energy, "degradation": p.degradation, "assignment": p.assignment.to_json()}
            for p in self.points
        ]
        return {"version": VERSION, "method": self.method, "points": points}

    def save(self, path: Path | str) -> None:
        """Write the JSON file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def from_json(cls, document: Any, source: str = "front") -> "Front":
        """Build from the JSON object.

        Raises:
            ValueError: wrong version or missing key, impossible number; says where.
        """
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise ValueError(f'{source}: expected a front file with "version": {VERSION}')
        if not isinstance(document.get("points"), list) or "method" not in document:
            raise ValueError(f"{source}: expected the keys method and points, got {sorted(document)}")
        points = [_point(entry, f"{source}, point {i}") for i, entry in enumerate(document["points"])]
        return cls.of(str(document["method"]), points)

    @classmethod
    def load(cls, path: Path | str) -> "Front":
        """Read the JSON file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not JSON, or not a front; says where.
        """
        return cls.from_json(read_document(path), str(path))


def infeasible(what: str, budget: float, least: float) -> ValueError:
    """The error for a budget that nothing keeps."""
    return ValueError(f"no choice keeps {what} <= {budget:g}; the least possible is {least:g}, allow at least that")


def _point(entry: Any, where: str) -> FrontPoint:
    if not isinstance(entry, dict) or set(entry) != {"energy", "degradation", "assignment"}:
        raise ValueError(f"{where}: expected the keys energy, degradation, assignment, got {entry!r}")
    for key in ("energy", "degradation"):
        if isinstance(entry[key], bool) or not isinstance(entry[key], int | float) or not math.isfinite(entry[key]):
            raise ValueError(f"{where}: {key} must be a finite number, got {entry[key]!r}")
    return FrontPoint(entry["energy"], entry["degradation"], Assignment.from_json(entry["assignment"], where))
