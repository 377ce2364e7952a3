"""Published error figures of a circuit against those it really has: never trusted, always compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from multipliers.importers.outcome import Mismatch
from multipliers.multiplier import Multiplier

KNOWN_MISPRINTS = frozenset({("mul8s_1KRC", "mae"), ("mul8s_1KVQ", "mae")})
"""Figures known to be truncated, not rounded: the MAE of mul8s_1KRC (v2022: mul8s_1KVQ) is printed 36, it is 36.535."""

_SIGMAS = 6.0
_SAMPLED = ("mae", "wce", "ep")


@dataclass(frozen=True)
class Printed:
    """One published error figure.

    Attributes:
        label: as printed, e.g. ``"MRE%"``.
        field: field of ``ErrorStatistics`` it states.
        scale: printed value / value of the field, e.g. 100 for percent.
        text: the number as printed; its digits tell the rounding.
    """

    label: str
    field: str
    scale: float
    text: str


def mismatches(multiplier: Multiplier, printed: Iterable[Printed], file: str) -> Iterator[Mismatch]:
    """The published figures that the circuit contradicts, beyond printed rounding and known misprints.

    Of circuits too wide for a table only MAE, WCE and EP can be judged, by sampling: MAE and EP within six standard
    errors, WCE as an upper bound.
    """
    for figure in printed:
        if multiplier.has_table:
            actual = getattr(multiplier.statistics(), figure.field) * figure.scale
            agrees = abs(actual - float(figure.text)) <= half_unit(figure.text) + 1e-9 * abs(actual)
            agrees |= (multiplier.name, figure.field) in KNOWN_MISPRINTS and math.floor(actual) == float(figure.text)
        elif figure.field in _SAMPLED:
            actual = getattr(multiplier.statistics(), figure.field) * figure.scale
            agrees = _agrees_sampled(multiplier, figure, actual)
        else:
            continue
        if not agrees:
            yield Mismatch(multiplier.name, figure.label, figure.text, actual, file)


def half_unit(text: str) -> float:
    """Half a unit in the last printed place.

    '12.0' counts as '12' (figures pass through floats), and nothing is printed with more than eight significant
    digits (the MSE of mul8u_E9R, 471649806.25, is printed 471649810). A printed zero claims exactness.
    """
    value = abs(float(text))
    if value == 0:
        return 0.0
    decimals = text.partition(".")[2].rstrip("0")
    return 0.5 * 10.0 ** max(-len(decimals), math.floor(math.log10(value)) - 7)


def _agrees_sampled(multiplier: Multiplier, figure: Printed, actual: float) -> bool:
    statistics = multiplier.statistics()
    slack = half_unit(figure.text)
    if figure.field == "wce":
        return actual <= float(figure.text) + slack
    variance = {"mae": statistics.mse - statistics.mae**2, "ep": statistics.ep * (1 - statistics.ep)}[figure.field]
    standard_error = math.sqrt(max(variance, 0.0) / statistics.sampled_pairs) * figure.scale
    return abs(actual - float(figure.text)) <= slack + _SIGMAS * standard_error
