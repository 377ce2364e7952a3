"""Pictures of circuits: the error map of one, error against energy of many. PNG by matplotlib, HTML by plotly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from multipliers import Library, Multiplier
from multipliers.library import error_figure
from picojoule.circuits.tables import MEANING, by_value
from picojoule.errors import UserError

FORMATS = (".png", ".svg", ".html")
_ENERGY = "energy / energy of the exact multiplier"
_COLOURS = ("31, 119, 180", "255, 127, 14", "44, 160, 44", "214, 39, 40", "148, 103, 189", "140, 86, 75")


def check_picture(path: Path) -> None:
    """Refuse a file whose format cannot be drawn, before any work is done."""
    if path.suffix not in FORMATS:
        raise UserError(
            f"{path}: expected a picture ending in {', '.join(FORMATS)}, got {path.suffix or 'no ending'!r}"
        )


def draw_error_map(circuit: Multiplier, path: Path) -> None:
    """Error of every operand pair, and how often each size of error occurs.

    Raises:
        UserError: the circuit is too wide for a map, or the format is unknown.
    """
    check_picture(path)
    if not circuit.has_table:
        raise UserError(
            f"{circuit.name}: {circuit.width_a} x {circuit.width_b} bits are too many pairs for a map; at most 20 bits"
        )
    error = by_value(circuit.error_map(), circuit.signed)
    low = [-(1 << (width - 1)) if circuit.signed else 0 for width in (circuit.width_a, circuit.width_b)]
    s = circuit.statistics()
    title = f"{circuit.name}: MAE {s.mae:.4g}, WCE {s.wce}, bias {s.bias:.4g}, energy {circuit.energy_relative:.3f}"
    if path.suffix == ".html":
        _map_page(error, low, title, path)
    else:
        _map_image(error, low, title, path)


def _map_image(error: "np.ndarray[Any, Any]", low: list[int], title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    limit = max(1, int(np.abs(error).max()))
    rows, columns = error.shape
    extent = (low[1] - 0.5, low[1] + columns - 0.5, low[0] + rows - 0.5, low[0] - 0.5)
    image = left.imshow(
        error, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent, aspect="auto", interpolation="none"
    )
    left.set(xlabel="operand b", ylabel="operand a", title="approximate − exact product")
    figure.colorbar(image, ax=left)
    right.hist(error.ravel(), bins=61, color="#4a6fa5", log=True)
    right.set(xlabel="error", ylabel="operand pairs", title="distribution")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def _map_page(error: "np.ndarray[Any, Any]", low: list[int], title: str, path: Path) -> None:
    import plotly.graph_objects as go

    limit = max(1, int(np.abs(error).max()))
    heat = go.Heatmap(
        z=error,
        x=np.arange(error.shape[1]) + low[1],
        y=np.arange(error.shape[0]) + low[0],
        colorscale="RdBu",
        reversescale=True,
        zmin=-limit,
        zmax=limit,
        hovertemplate="a %{y}, b %{x}: error %{z}<extra></extra>",
    )
    figure = go.Figure(heat, layout={"title": title, "xaxis_title": "operand b", "yaxis_title": "operand a"})
    figure.update_yaxes(autorange="reversed")
    figure.write_html(path, include_plotlyjs=True)


def draw_libraries(libraries: Mapping[str, Library], error: str, path: Path) -> None:
    """Energy against one error figure; circuits on the Pareto front of their library joined by a line.

    Args:
        libraries: by the name told in the legend; circuits of one width and signedness.
        error: field of ``ErrorStatistics``.
        path: PNG, SVG or HTML.

    Raises:
        UserError: the format is unknown, or a library has nothing to draw.
    """
    check_picture(path)
    for name, library in libraries.items():
        if not library:
            raise UserError(f"library {name!r} has no circuit left to draw; loosen the filters, or leave it out")
    (_scatter_page if path.suffix == ".html" else _scatter_image)(libraries, error, path)


def _points(library: Library, error: str) -> tuple[list[str], list[float], list[float]]:
    size = error_figure(error)
    return list(library), [m.energy_relative for m in library.values()], [size(m) for m in library.values()]


def _title(libraries: Mapping[str, Library]) -> str:
    circuit = next(iter(next(iter(libraries.values())).values()))
    return f"{circuit.width_a} x {circuit.width_b} bit, {'signed' if circuit.signed else 'unsigned'}"


def _axis(error: str) -> str:
    return f"{error}: {'|mean e|' if error == 'bias' else MEANING[error]}"


def _scatter_image(libraries: Mapping[str, Library], error: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for index, (name, library) in enumerate(libraries.items()):
        _, energies, errors = _points(library, error)
        axes.scatter(energies, errors, s=14, alpha=0.45, color=f"C{index}")
        _, energies, errors = _points(library.pareto(error=error), error)
        axes.plot(energies, errors, "o-", ms=4, lw=1.2, color=f"C{index}", label=f"{name}: front")
    axes.set_yscale("symlog", linthresh=_smallest(libraries, error))
    axes.set(title=_title(libraries), xlabel=_ENERGY, ylabel=_axis(error))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def _smallest(libraries: Mapping[str, Library], error: str) -> float:
    """The smallest error that is not zero: where the logarithmic axis turns linear to show exact circuits."""
    values = [value for library in libraries.values() for value in _points(library, error)[2] if value > 0]
    return min(values, default=1.0)


def _scatter_page(libraries: Mapping[str, Library], error: str, path: Path) -> None:
    import plotly.graph_objects as go

    floor = _smallest(libraries, error) / 3
    title = f"{_title(libraries)}; circuits without error are drawn on the lowest line"
    axis = {"title": _axis(error), "type": "log"}
    figure = go.Figure(layout={"title": title, "xaxis_title": _ENERGY, "yaxis": axis})
    for index, (name, library) in enumerate(libraries.items()):
        colour = f"rgba({_COLOURS[index % len(_COLOURS)]}, {{}})"
        for label, chosen, mode, alpha in (
            (name, library, "markers", 0.5),
            (f"{name}: front", library.pareto(error=error), "lines+markers", 1),
        ):
            names, energies, errors = _points(chosen, error)
            figure.add_scatter(
                x=energies,
                y=[max(value, floor) for value in errors],
                text=[f"{circuit}: {value:.6g}" for circuit, value in zip(names, errors, strict=True)],
                mode=mode,
                name=label,
                line={"color": colour.format(alpha)},
                marker={"color": colour.format(alpha)},
                hovertemplate="%{text}<br>energy %{x:.3f}<extra></extra>",
            )
    figure.write_html(path, include_plotlyjs=True)
