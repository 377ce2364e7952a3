"""Renders a report as one HTML file that needs nothing else: style, script, data and plotly.js are inside.

Its content security policy forbids the browser to load anything from anywhere.
"""

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from picojoule.files import write_text
from picojoule.report import numbers
from picojoule.report.charts import charts
from picojoule.report.contents import RunReport

_FOLDER = Path(__file__).parent


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        numbers.energy,
        numbers.energy_with_sigma,
        numbers.count,
        numbers.percent,
        numbers.points,
        numbers.small,
    )
    environment.filters.update({function.__name__: function for function in filters})
    return environment


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def render(report: RunReport) -> str:
    """The report as HTML, about 5 MB of which most is plotly.js."""
    return _environment().get_template("report.html").render(report=report, charts=charts(report), plotly=_plotly())


def write_report(report: RunReport, path: str | Path) -> None:
    """Writes the report's HTML file, atomically."""
    write_text(path, render(report))
