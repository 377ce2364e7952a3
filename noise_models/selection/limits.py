"""`Limits`: what a choice of circuits has to keep.

    {"energy": 0.2, "degradation": 0.03, "circuits": 4, "area_um2": 1500.0,
     "pins": {"conv1": "mul8u_exact", "layer3.*": {"multiplier": "mul8u_1AGV", "operands": "affine", "swap": true}}}

Circuits are shared: a layer runs on hardware that has one circuit of each kind that any layer uses, so the area is the
sum over the distinct circuits, however many layers use each. (Times the number of parallel units, if there are many.)
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from approx import Assignment, Choice, LayerChoice
from noise_models.candidates import Candidate, Candidates
from noise_models.selection.front import Front, FrontPoint, infeasible, rounded_up
from noise_models.selection.hull import choosable

QUANTITIES = ("energy", "degradation", "circuits", "area_um2")
Bounds = Mapping[str, float]


@dataclass(frozen=True)
class Limits:
    """Upper bounds and pins; absent ones do not bind.

    Attributes:
        energy: of all layers, in units of the candidates' cost, >= 0.
        degradation: predicted, of all layers, >= 0.
        circuits: distinct circuits, >= 1; pinned ones count.
        area_um2: of the distinct circuits together, one of each, um^2, > 0.
        pins: layer name or shell pattern -> circuit, in whatever coding and order is best, or the whole `Choice`. An
            exact name wins over a pattern, a longer pattern over a shorter one.

    Raises:
        ValueError: an impossible bound.
    """

    energy: float | None = None
    degradation: float | None = None
    circuits: int | None = None
    area_um2: float | None = None
    pins: Mapping[str, LayerChoice | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, bound in self.bounds.items():
            number = isinstance(bound, int | float) and not isinstance(bound, bool) and math.isfinite(bound)
            if not number or bound < 0:
                raise ValueError(f"limits: {name} must be a finite number >= 0, got {bound!r}")
        if self.area_um2 == 0:
            raise ValueError("limits: area_um2 must be > 0, got 0")
        if self.circuits is not None and (self.circuits < 1 or self.circuits != int(self.circuits)):
            raise ValueError(f"limits: circuits must be a whole number >= 1, got {self.circuits!r}")

    @property
    def bounds(self) -> dict[str, float]:
        """Quantity -> upper bound, of those that bind."""
        return {name: getattr(self, name) for name in QUANTITIES if getattr(self, name) is not None}

    @property
    def shared(self) -> bool:
        """Whether a layer's choice touches the others': through the number or the area of circuits."""
        return self.circuits is not None or self.area_um2 is not None

    def pinned(self, candidates: Candidates) -> Candidates:
        """The candidates that keep the pins.

        Raises:
            ValueError: a pin names no layer, or a circuit that is no candidate there.
        """
        chosen = self.pin_of(candidates)
        return {n: self._pinned(n, row, chosen[n]) if n in chosen else row for n, row in candidates.items()}

    def pin_of(self, layers: Iterable[str]) -> dict[str, str]:
        """Pinned layer -> the key of `pins` that holds for it.

        Raises:
            ValueError: a pin names no layer.
        """
        try:  # patterns are resolved as those of an assignment
            winners = Assignment({pattern: Choice(pattern) for pattern in self.pins}).resolve(layers)
        except ValueError as error:
            raise ValueError(f"pins: {error}") from error
        return {name: winner.multiplier for name, winner in winners.items()}

    def rows(self, candidates: Candidates) -> dict[str, list[Candidate]]:
        """What each layer may take: pins kept, infinite degradation and what is needlessly bad left out.

        Raises:
            ValueError: as `pinned`, or nothing is left.
        """
        return choosable(self.pinned(candidates), per_circuit=self.shared)

    def known_areas(self, candidates: Candidates) -> dict[str, float]:
        """Circuit -> um^2 where areas are bounded, otherwise nothing.

        Raises:
            ValueError: an area is needed and not known; names the circuits.
        """
        return areas(candidates) if self.area_um2 is not None else {}

    def within(self, front: Front, candidates: Candidates) -> Front:
        """The points of a front that keep the bounds.

        Raises:
            ValueError: there is none; says the nearest bounds that some point keeps.
        """
        area = self.known_areas(candidates)
        kept = [p for p in front if keeps(p, self.bounds, area)]
        if kept:
            return Front.of(front.method, kept)

        def least(quantity: str, bounds: Bounds) -> float | None:
            return min((quantities(p, area)[quantity] for p in front if keeps(p, bounds, area)), default=None)

        raise nearest_feasible(self.bounds, least, f"choice that {front.method} looked at")

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        pins = {pattern: pin if isinstance(pin, str) else pin.to_json() for pattern, pin in self.pins.items()}
        return {**self.bounds, "pins": pins}

    @classmethod
    def from_json(cls, document: Any, source: str = "limits") -> "Limits":
        """Build from the JSON object.

        Raises:
            ValueError: unknown key, impossible bound, malformed pin; says where.
        """
        known = [f.name for f in fields(cls)]
        if not isinstance(document, dict) or not set(document) <= set(known):
            raise ValueError(f"{source}: expected an object with keys out of {known}, got {document!r}")
        whole = Assignment.from_json({"version": 1, "layers": document.get("pins", {})}, f"{source}, pins").layers
        pins = {p: value if isinstance(value, str) else whole[p] for p, value in document.get("pins", {}).items()}
        try:
            return cls(**{**document, "pins": pins})
        except ValueError as error:
            raise ValueError(f"{source}: {str(error).removeprefix('limits: ')}") from error

    def _pinned(self, layer: str, row: Sequence[Candidate], pattern: str) -> list[Candidate]:
        pin = self.pins[pattern]
        kept = [c for c in row if pin == (c.choice.multiplier if isinstance(pin, str) else c.choice)]
        if not kept:
            known = sorted({c.choice.multiplier for c in row})
            raise ValueError(f"pin {pattern!r}: layer {layer!r} has no candidate {pin!r}; its circuits are {known}")
        return kept


def areas(candidates: Candidates) -> dict[str, float]:
    """Circuit -> um^2, of all circuits among the candidates, from the candidates that use it alone.

    Raises:
        ValueError: the area of some is not known; names them.
    """
    every = [c for row in candidates.values() for c in row]
    known = {c.choice.circuits[0]: c.area_um2 for c in every if len(c.choice.circuits) == 1 and c.area_um2 is not None}
    unknown = sorted({name for c in every for name in c.choice.circuits} - set(known))
    if unknown:
        raise ValueError(f"area_um2 is bounded, but the area of {unknown} is not known; leave them out, or give it")
    return known


def quantities(point: FrontPoint, area: Mapping[str, float]) -> dict[str, float]:
    """Energy, degradation, number of distinct circuits and, where areas are given, their area."""
    circuits = {name for choice in point.assignment.layers.values() for name in choice.circuits}
    reached = {"energy": point.energy, "degradation": point.degradation, "circuits": float(len(circuits))}
    return {**reached, "area_um2": math.fsum(area[name] for name in circuits)} if area else reached


def keeps(point: FrontPoint, bounds: Bounds, area: Mapping[str, float]) -> bool:
    """Whether a point that names every layer is within all bounds, without any rounding."""
    reached = quantities(point, area)
    return all(reached[name] <= bound for name, bound in bounds.items())


def nearest_feasible(bounds: Bounds, least: Callable[[str, Bounds], float | None], among: str = "choice") -> ValueError:
    """The error for bounds that nothing keeps.

    Args:
        bounds: quantity -> upper bound.
        least: the least value of a quantity within other bounds, None where nothing keeps those.
        among: what was looked at.
    """
    others = {name: {k: v for k, v in bounds.items() if k != name} for name in bounds}
    nearest = {name: value for name in bounds if (value := least(name, others[name])) is not None}
    if len(bounds) == 1 and nearest:
        ((name, value),) = nearest.items()
        return infeasible(name, bounds[name], value, among)
    wanted = " and ".join(f"{name} <= {bound:g}" for name, bound in bounds.items())
    if nearest:
        ways = ", or ".join(f"{name} of at least {rounded_up(value)}" for name, value in nearest.items())
        return ValueError(f"no {among} keeps {wanted}; the nearest that is possible with the other limits kept: {ways}")
    alone = {name: least(name, {}) for name in bounds}
    ways = ", ".join(f"{name} {rounded_up(value)}" for name, value in alone.items() if value is not None)
    return ValueError(
        f"no {among} keeps {wanted}; relax more than one of them (the least possible, each alone: {ways})"
    )
