"""Published figures in the comments of EvoApproxLib files (the "lite" 2021 and v2022 releases, and EvoApprox8b 2017).

The releases print the same quantities in different forms: 2021 and 2022 ``// MRE% = 0.40 %`` and ``PDK45_PWR`` in mW,
2017 ``// MRE = 0.88 %`` and ``Power (45)`` in uW, with relative errors averaged over all pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from multipliers.importers.published import Printed, is_figure
from multipliers.provenance import PublishedFigures

_FIGURE = re.compile(
    r"^[ \t]*//+[ \t]*([A-Z][\w%]*(?:[ \t]*\(45\))?)[ \t]*=[ \t]*([-+.\deE]+)[ \t]*(?:%|mW|um2|ns)?[ \t]*\r?$",
    re.MULTILINE,
)
_2017 = re.compile(r"^[ \t]*//+[ \t]*Library[ \t]*=[ \t]*EvoApprox8b[ \t]*\r?$", re.MULTILINE)

_PLAIN = {"MAE": ("mae", 1.0), "WCE": ("wce", 1.0), "MSE": ("mse", 1.0)}
_ERRORS_LITE = {**_PLAIN, "WCRE%": ("wcre", 100.0), "EP%": ("ep", 100.0), "MRE%": ("mre", 100.0)}
_ERRORS_2017 = {**_PLAIN, "WCRE": ("wcre_8b2017", 100.0), "EP": ("ep", 100.0), "MRE": ("mre_8b2017", 100.0)}

_FIGURES_LITE = ("PDK45_PWR", "PDK45_AREA", "PDK45_DELAY")
_FIGURES_2017 = ("Power (45)", "Area (45)", "Delay (45)")


@dataclass(frozen=True)
class Header:
    """Figures printed at the head of one file.

    Attributes:
        errors: published error figures.
        figures: published power, area and delay, None where none is printed.
    """

    errors: tuple[Printed, ...]
    figures: PublishedFigures | None


def parse_header(text: str, source: str) -> Header:
    """The figures in the comments of a Verilog or C file; empty where there are none.

    Args:
        text: the file.
        source: named in the figures.
    """
    old = _2017.search(text) is not None
    values: dict[str, str] = {}
    for label, number in _FIGURE.findall(text):
        if is_figure(number):
            values.setdefault(re.sub(r"\s+", " ", label), number)
    known = _ERRORS_2017 if old else _ERRORS_LITE
    errors = tuple(Printed(label, *known[label], text) for label, text in values.items() if label in known)
    power, area, delay = _FIGURES_2017 if old else _FIGURES_LITE
    if not {power, area, delay} & set(values):
        return Header(errors, None)
    to_mw = 1e-3 if old else 1.0
    figures = PublishedFigures(
        source=f"{source}, PDK45",
        power_mw=float(values[power]) * to_mw if power in values else None,
        area_um2=float(values[area]) if area in values else None,
        delay_ns=float(values[delay]) if delay in values else None,
    )
    return Header(errors, figures)
