"""`Front`: the solved energy/degradation front. Each point is an `Assignment`.

{"version": 1, "method": "knapsack",
 "points": [{"energy": 0.12, "degradation": 0.03, "assignment": {"version": 1, "layers": {...}}}, ...]}
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
        bits: of the activations a layer reads, where they are not 8 (`noise_models.joint`).
        kept: share of the channels that pruning leaves to a layer's group, where it is not 1.
    """

    energy: float
    degradation: float
    assignment: Assignment
    bits: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, chosen: Mapping[str, Candidate]) -> "FrontPoint":
        """The point that takes this candidate in each layer."""
        return cls(
            energy=math.fsum(c.energy for c in chosen.values()),
            degradation=math.fsum(c.degradation for c in chosen.values()),
            assignment=Assignment({name: candidate.choice for name, candidate in chosen.items()}),
            bits={name: c.bits for name, c in chosen.items() if c.bits != 8},
            kept={name: c.kept for name, c in chosen.items() if c.kept != 1.0},
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object; bits and kept are in it where there are any."""
        joint = {name: dict(part) for name, part in (("bits", self.bits), ("kept", self.kept)) if part}
        return {
            "energy": self.energy,
            "degradation": self.degradation,
            "assignment": self.assignment.to_json(),
            **joint,
        }


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
        return {"version": VERSION, "method": self.method, "points": [point.to_json() for point in self.points]}

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


def infeasible(what: str, budget: float, least: float, among: str = "choice") -> ValueError:
    """The error for a budget that nothing keeps."""
    return ValueError(
        f"no {among} keeps {what} <= {budget:g}; the least possible is {rounded_up(least)}, allow at least that"
    )


def rounded_up(value: float) -> str:
    """Six digits that, read back as a budget, allow the value."""
    text = f"{value:.6g}"
    return text if float(text) >= value else f"{value + 10.0 ** (math.floor(math.log10(abs(value))) - 5):.6g}"


def _point(entry: Any, where: str) -> FrontPoint:
    keys = {"energy", "degradation", "assignment"}
    if not isinstance(entry, dict) or not keys <= set(entry) <= {*keys, "bits", "kept"}:
        raise ValueError(f"{where}: expected the keys energy, degradation, assignment, got {entry!r}")
    for key in ("energy", "degradation"):
        if isinstance(entry[key], bool) or not isinstance(entry[key], int | float) or not math.isfinite(entry[key]):
            raise ValueError(f"{where}: {key} must be a finite number, got {entry[key]!r}")
    assignment = Assignment.from_json(entry["assignment"], where)
    bits, kept = entry.get("bits", {}), entry.get("kept", {})
    if not isinstance(bits, dict) or not all(isinstance(b, int) and 2 <= b <= 8 for b in bits.values()):
        raise ValueError(f"{where}: bits must be an object of layer -> 2..8, got {bits!r}")
    if not isinstance(kept, dict) or not all(isinstance(k, int | float) and 0 < k <= 1 for k in kept.values()):
        raise ValueError(f"{where}: kept must be an object of layer -> share above 0 and at most 1, got {kept!r}")
    return FrontPoint(entry["energy"], entry["degradation"], assignment, bits, kept)
