"""`Quantity`: an energy and how it moves when a figure it was computed from is wrong."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quantity:
    """An energy with its first-order dependence on every source of figures.

    Within one source the error is one common factor (fully correlated, it cancels in ratios); different
    sources are independent: sigma^2 = sum over sources of (d value / d ln source * relative sigma)^2.

    Attributes:
        value: pJ.
        sensitivities: source -> d value / d ln(source), pJ.
    """

    value: float = 0.0
    sensitivities: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, value: float, *sources: str) -> "Quantity":
        """An energy proportional to each of the named sources."""
        return cls(value, dict.fromkeys(sources, value))

    def __add__(self, other: "Quantity") -> "Quantity":
        names = dict.fromkeys([*self.sensitivities, *other.sensitivities])
        both = {n: self.sensitivities.get(n, 0.0) + other.sensitivities.get(n, 0.0) for n in names}
        return Quantity(self.value + other.value, both)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return self + other.scaled(-1.0)

    def scaled(self, factor: float) -> "Quantity":
        """The energy times a certain number."""
        return Quantity(self.value * factor, {n: s * factor for n, s in self.sensitivities.items()})

    def sigma(self, uncertainties: Mapping[str, float]) -> float:
        """Standard deviation, pJ.

        Args:
            uncertainties: source -> relative standard deviation; every source of this quantity must be there.
        """
        return math.hypot(*(s * uncertainties[n] for n, s in self.sensitivities.items()))


def total(quantities: Iterable[Quantity]) -> Quantity:
    """Sum of energies."""
    return sum(quantities, Quantity())


def saved(before: Quantity, after: Quantity, uncertainties: Mapping[str, float]) -> tuple[float, float]:
    """Saved fraction 1 - after / before and its standard deviation (first order, common sources cancel).

    Nothing is saved of nothing: 0 when `before` is 0.
    """
    if before.value == 0:
        return 0.0, 0.0
    ratio = after.value / before.value
    change = after - before.scaled(ratio)
    return 1.0 - ratio, change.sigma(uncertainties) / before.value
