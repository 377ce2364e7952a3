"""Published error figures of a circuit against those it really has: never trusted, always compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from multipliers.importers.outcome import Mismatch
from multipliers.multiplier import Multiplier

KNOWN_MISPRINTS = frozenset({("4bd6900c", "mae")})
"""Figures known to be truncated, not rounded, by the first digits of the content hash: the MAE of mul8s_1KRC (in v2022
mul8s_1KVQ, the same function) is printed 36, it is 36.535."""

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
            misprinted = (multiplier.content_hash[:8], figure.field) in KNOWN_MISPRINTS
            agrees |= misprinted and math.floor(actual) == float(figure.text)
        elif figure.field in _SAMPLED:
            actual = getattr(multiplier.statistics(), figure.field) * figure.scale
            agrees = _agrees_sampled(multiplier, figure, actual)
        else:
            continue
        if not agrees:
            yield Mismatch(multiplier.name, figure.label, figure.text, actual, file)


def is_figure(text: object) -> bool:
    """Whether a printed text is a finite number."""
    try:
        return isinstance(text, str) and math.isfinite(float(text))
    except ValueError:
        return False


def half_unit(text: str) -> float:
    """Half a unit in the last printed place.

    '12.0' counts as '12' (figures pass through floats), and nothing is printed with more than eight significant
    digits (the MSE of mul8u_E9R, 471649806.25, is printed 471649810). A printed zero claims exactness.
    """
    value = abs(float(text))
    if value == 0:
        return 0.0
    digits, _, power = text.lower().partition("e")
    exponent = int(power or 0) - len(digits.partition(".")[2].rstrip("0"))
    return 0.5 * 10.0 ** max(exponent, math.floor(math.log10(value)) - 7)


def _agrees_sampled(multiplier: Multiplier, figure: Printed, actual: float) -> bool:
    """Whether samples can come from a circuit with the printed figure; nothing can be said where no error was drawn."""
    statistics, printed = multiplier.statistics(), float(figure.text)
    slack = half_unit(figure.text)
    if figure.field == "wce":
        return actual <= printed + slack
    if figure.field == "ep":
        share = min(1.0, printed / figure.scale)
        variance = max(share * (1 - share), 1 / statistics.sampled_pairs)
    elif statistics.wce == 0:
        return True
    else:
        variance = max(statistics.mse - statistics.mae**2, 0.0)
    standard_error = math.sqrt(variance / statistics.sampled_pairs) * figure.scale
    return abs(actual - printed) <= slack + _SIGMAS * standard_error
