"""The report's charts as plotly figures (plain dicts).

Colours are names of CSS variables ("--series"); the page fills them in, for light and dark.
"""

import math
from typing import Any

from picojoule.report import numbers
from picojoule.report.contents import IN_VIEW, FrontPoint, PointKind, RunReport

Figure = dict[str, Any]
_COMPONENT_COLOURS = ("--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8")


def front_chart(report: RunReport) -> Figure:
    """Accuracy (above, measured) and predicted degradation (below) over the multiplication energy saved."""
    predicted = report.of_kind(PointKind.PREDICTED)
    uniform = report.of_kind(PointKind.UNIFORM)
    measured = sorted(
        report.of_kind(PointKind.MEASURED, PointKind.CHOSEN), key=lambda point: point.saved_multiplication
    )
    chosen = report.of_kind(PointKind.CHOSEN)
    retrained = report.of_kind(PointKind.RETRAINED)
    upper = [
        _series("one circuit everywhere", uniform, "--quiet", "diamond", text=True),
        _series("front, measured", measured, "--series", "circle", line=True),
        _series("chosen", chosen, "--accent", "star", size=17),
        _series("chosen, retrained", retrained, "--accent", "star-open", size=17),
    ]
    lower = [
        _series("one circuit everywhere", uniform, "--quiet", "diamond", below=True),
        _series("front, predicted", predicted, "--series", "circle", line=True, below=True, size=4),
        _series("chosen", chosen, "--accent", "star", below=True, size=15),
    ]
    has_prediction = any(trace["x"] for trace in lower)
    exact = report.headline.accuracy_int8
    layout: Figure = {
        "height": 620 if has_prediction else 420,
        "margin": {"l": 20, "r": 18, "t": 12, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "xaxis": {
            "title": {"text": "multiplication energy saved (%)"},
            "anchor": "y2" if has_prediction else "y",
            "range": _saved_range([p for p in report.points if p.kind != PointKind.PREDICTED] or predicted),
        },
        "yaxis": {
            "title": {"text": "top-1 accuracy (%)", "standoff": 10},
            "automargin": True,
            "domain": [0.40, 1.0] if has_prediction else [0, 1],
            "range": _accuracy_range(upper, exact),
        },
        "shapes": [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": exact, "y1": exact, "yref": "y",
             "line": {"color": "--quiet", "width": 1, "dash": "dot"}}
        ],
        "annotations": [
            {"xref": "paper", "x": 0.005, "xanchor": "left", "y": exact, "yref": "y", "yanchor": "bottom",
             "text": f"exact 8-bit {exact:.2f} %", "showarrow": False, "font": {"size": 12, "color": "--muted"}}
        ],
    }  # fmt: skip
    if has_prediction:
        layout["yaxis2"] = {
            "title": {"text": "predicted degradation", "standoff": 10},
            "automargin": True,
            "domain": [0, 0.32],
            **_log_axis([v for trace in lower for v in trace["y"]]),
        }
    drawn = [trace for trace in (*upper, *lower) if trace["x"]]
    for trace in drawn:
        trace["showlegend"] = trace is next(t for t in drawn if t["name"] == trace["name"])
    return {"data": drawn, "layout": layout}


def _series(
    name: str,
    points: list[FrontPoint],
    colour: str,
    symbol: str,
    *,
    line: bool = False,
    below: bool = False,
    text: bool = False,
    size: int = 9,
) -> Figure:
    """Points of one kind as a trace; below: in the panel of predictions, without its own legend entry if repeated."""
    values = [(p, p.degradation if below else p.accuracy) for p in points]
    shown = [(p, v) for p, v in values if v is not None and (v > 0 or not below)]
    unit = "predicted degradation %{y:.2g}" if below else "%{y:.2f} % top-1"
    return {
        "type": "scatter",
        "name": name,
        "legendgroup": name,
        "showlegend": not below,
        "mode": ("lines+markers" if line else "markers") + ("+text" if text else ""),
        "x": [100 * p.saved_multiplication for p, _ in shown],
        "y": [v for _, v in shown],
        "text": [p.label for p, _ in shown],
        "textposition": "bottom center",
        "textfont": {"size": 11, "color": "--muted"},
        "cliponaxis": line,
        "hovertemplate": f"<b>%{{text}}</b><br>%{{x:.1f}} % saved<br>{unit}<extra>{name}</extra>",
        "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}},
        "line": {"color": colour, "width": 2},
        "yaxis": "y2" if below else "y",
    }


def _saved_range(points: list[FrontPoint]) -> list[float]:
    """From well below the measured points (from 0 where they begin early) to a little above the cheapest."""
    saved = [100 * point.saved_multiplication for point in points] or [0.0, 100.0]
    low = min(saved) - 12.0
    return [min(0.0, min(saved)) - 2.0 if low < 25 else low, max(saved) + 4.0]


def _log_axis(values: list[float]) -> Figure:
    """A logarithmic axis whose ticks are written out; 1, 2, 5 within two decades, otherwise decades."""
    if not values:
        return {"type": "log"}
    low, high = math.log10(min(values)) - 0.15, math.log10(max(values)) + 0.15
    factors = (1.0, 2.0, 5.0) if high - low < 2.2 else (1.0,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [f * 10.0**d for d in decades for f in factors if low <= math.log10(f * 10.0**d) <= high]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [numbers.small(tick) for tick in ticks],
    }


def _accuracy_range(traces: list[Figure], exact: float) -> list[float]:
    """From a little below what matters to a little above the best; hopeless uniform circuits may lie outside."""
    all_values = [exact, *(v for trace in traces for v in trace["y"])]
    ours = [exact, *(v for trace in traces if trace["marker"]["color"] != "--quiet" for v in trace["y"])]
    low, high = min(v for v in ours if v >= exact - IN_VIEW), max(all_values)
    spread = max(high - low, 0.5)
    inside = [v for v in all_values if v >= low - 1.5 * spread]
    return [max(0.0, min(inside) - 0.25 * spread), min(100.4, high + 0.3 * spread)]


def energy_chart(report: RunReport) -> Figure:
    """Energy per image by component, stacked, one bar per configuration, with the total's uncertainty."""
    labels = [bar.label for bar in report.bars]
    names = list(dict.fromkeys(name for bar in report.bars for name in bar.components))
    largest = max(bar.total.pj for bar in report.bars)
    factor, unit = next((f, u) for f, u in ((1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ")) if largest >= f or f == 1.0)
    data: list[Figure] = []
    for number, name in enumerate(names):
        amounts = [bar.components.get(name) for bar in report.bars]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name.replace("_", " "),
                "y": labels,
                "x": [a.pj / factor if a else 0.0 for a in amounts],
                "customdata": [numbers.energy_with_sigma(a.pj, a.sigma_pj) if a else "" for a in amounts],
                "hovertemplate": "<b>%{fullData.name}</b><br>%{customdata}<extra>%{y}</extra>",
                "marker": {"color": _COMPONENT_COLOURS[number % len(_COMPONENT_COLOURS)], "line": {"width": 0}},
            }
        )
    data += [_totals(report, factor, colour="--card", width=5.0, is_halo=True)]
    data += [_totals(report, factor, colour="--ink", width=1.5, is_halo=False)]
    layout = {
        "barmode": "stack",
        "bargap": 0.35,
        "height": 150 + 62 * len(labels),
        "margin": {"l": 10, "r": 14, "t": 8, "b": 46},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "xaxis": {"title": {"text": f"{unit} per image"}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
    }
    return {"data": data, "layout": layout}


def _totals(report: RunReport, factor: float, *, colour: str, width: float, is_halo: bool) -> Figure:
    """The totals with their uncertainty; the halo underneath sets them off against the bars."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "total ± 1σ",
        "showlegend": not is_halo,
        "y": [bar.label for bar in report.bars],
        "x": [bar.total.pj / factor for bar in report.bars],
        "error_x": {
            "type": "data",
            "array": [bar.total.sigma_pj / factor for bar in report.bars],
            "color": colour,
            "thickness": width,
            "width": 5 + width / 2,
        },
        "marker": {"color": colour, "size": 4 + width},
        "customdata": [numbers.energy_with_sigma(bar.total.pj, bar.total.sigma_pj) for bar in report.bars],
        "hoverinfo": "skip" if is_halo else "all",
        "hovertemplate": None if is_halo else "<b>total</b><br>%{customdata}<extra>%{y}</extra>",
    }


def tolerance_chart(report: RunReport) -> Figure:
    """What each layer bears against what its circuit makes there, relative to the layer's output."""
    rows = [row for row in report.layers if row.tolerance or row.predicted_error]
    names = [row.name for row in rows]
    gaps: dict[str, list[Any]] = {"x": [], "y": []}
    for row in rows:
        if row.tolerance and row.predicted_error:
            gaps["x"] += [row.name, row.name, None]
            gaps["y"] += [row.tolerance, row.predicted_error, None]
    series = (
        ("tolerance of the layer", [row.tolerance or None for row in rows], "--series", "circle-open"),
        ("predicted error of its circuit", [row.predicted_error or None for row in rows], "--accent", "circle"),
    )
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            **gaps,
            "line": {"color": "--rule", "width": 3},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    for name, values, colour, symbol in series:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": names,
                "y": values,
                "text": [f"{row.circuit}, {row.operands}" for row in rows],
                "hovertemplate": "<b>%{x}</b><br>%{y:.3g}<br>%{text}<extra>" + name + "</extra>",
                "marker": {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}},
            }
        )
    layout = {
        "height": 380,
        "margin": {"l": 20, "r": 18, "t": 8, "b": 60},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"type": "category", "categoryarray": names, "automargin": True, "showgrid": False},
        "yaxis": {
            "title": {"text": "relative error (σ)", "standoff": 10},
            "automargin": True,
            **_log_axis([v for row in rows for v in (row.tolerance, row.predicted_error) if v]),
        },
    }
    return {"data": data, "layout": layout}


def charts(report: RunReport) -> dict[str, Figure]:
    """Every chart the report has data for, by the id of its place in the page."""
    found: dict[str, Figure] = {}
    if report.points:
        found["front"] = front_chart(report)
    if report.bars:
        found["energy"] = energy_chart(report)
    if any(row.tolerance or row.predicted_error for row in report.layers):
        found["tolerance"] = tolerance_chart(report)
    return found
