"""Where a figure of a circuit comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """Origin of the energy, area and delay of one circuit.

    Attributes:
        source: who published or generated the circuit and its figures.
        node: technology node and supply the *absolute* figures refer to, e.g. ``"SKY130 1.8 V"``.
        method: how the figures were obtained.
        uncertainty: relative standard deviation (1 sigma) of ``Multiplier.energy_pj`` as an absolute
            figure, 0.3 = 30 %. Ratios between circuits of the same flow are tighter than that.
    """

    source: str
    node: str
    method: str
    uncertainty: float

    def __post_init__(self) -> None:
        for field in ("source", "node", "method"):
            if not getattr(self, field):
                raise ValueError(f"provenance: '{field}' is empty; say where the figures come from")
        if not (math.isfinite(self.uncertainty) and self.uncertainty >= 0):
            raise ValueError(
                f"provenance: uncertainty must be a finite relative 1-sigma >= 0, got {self.uncertainty!r} "
                "(0.3 means 30 %)"
            )


@dataclass(frozen=True)
class PublishedFigures:
    """What the authors of a circuit print about its cost, kept beside our own figures.

    Attributes:
        source: where they are printed.
        power_mw: power, mW, at the operating point of the source.
        area_um2: cell area, um^2.
        delay_ns: critical path, ns.
    """

    source: str
    power_mw: float | None = None
    area_um2: float | None = None
    delay_ns: float | None = None
