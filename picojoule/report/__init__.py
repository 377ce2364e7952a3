"""The report of a run: one offline HTML file, and the front as a picture."""

from picojoule.report.contents import (
    Amount,
    CircuitSource,
    EnergyBar,
    FrontPoint,
    Headline,
    LayerRow,
    PointKind,
    RunReport,
    TargetRow,
)
from picojoule.report.front_picture import front_svg
from picojoule.report.page import render, write_report

__all__ = [
    "Amount",
    "CircuitSource",
    "EnergyBar",
    "FrontPoint",
    "Headline",
    "LayerRow",
    "PointKind",
    "RunReport",
    "TargetRow",
    "front_svg",
    "render",
    "write_report",
]
