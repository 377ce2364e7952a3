"""The picture of `benchmarks.pruning`: test accuracy of every method after fine-tuning, a panel a budget."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._pruning_methods import Method
from picojoule.files import Json

OUR_COLOUR, PEER_COLOUR, BEFORE_COLOUR = "#2166c4", "#c2470a", "#8b9097"
PANEL_WIDTH, ROW_HEIGHT, MARGIN = 6.6, 0.24, 1.3  # inches
Found = Mapping[Method, Sequence[Mapping[str, Json]]]
"""Method -> of every seed what was measured."""


def draw(network: str, panels: Mapping[float, Found], path: Path) -> None:
    """Writes the SVG picture; `panels` is by share of the multiply-accumulates kept."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    most = max(map(len, panels.values()))
    with mpl.rc_context({"svg.hashsalt": "picojoule", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(PANEL_WIDTH * len(panels), ROW_HEIGHT * most + MARGIN), layout="constrained")
        figure.suptitle(f"{network}, CIFAR-10, test top-1 (%): small dots are seeds, large ones their mean")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (macs, found) in zip(axes, panels.items(), strict=True):
            _panel(panel, found)
            panel.set_title(f"{macs:.0%} of the multiply-accumulates kept", fontsize=9)
        axes[0].legend(handles=_legend(), loc="lower left", fontsize=8, framealpha=0.9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Any, found: Found) -> None:
    """A row a method, the best uppermost."""
    methods = sorted(found, key=lambda method: _mean(found[method], "tuned"))
    for row, method in enumerate(methods):
        colour, seeds = PEER_COLOUR if method.is_peer else OUR_COLOUR, found[method]
        axes.plot(_mean(seeds, "reestimated"), row, "|", color=BEFORE_COLOUR)
        values, tuned = [100 * seed["tuned"] for seed in seeds], _mean(seeds, "tuned")
        axes.plot(values, [row] * len(values), ".", color=colour, markersize=3)
        axes.plot(tuned, row, "o", color=colour, markersize=5)
        right_of = (max(values), row)
        axes.annotate(f"{tuned:.1f}", right_of, (5, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(range(len(methods)), [method.name for method in methods], fontsize=7)
    axes.margins(x=0.1)
    axes.grid(axis="x", color="#e2e3df")


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    marks = {
        "batch norms re-estimated": ("|", BEFORE_COLOUR),
        "fine-tuned, picojoule": ("o", OUR_COLOUR),
        "fine-tuned, torch-pruning": ("o", PEER_COLOUR),
    }
    return [Line2D([], [], linestyle="", marker=m, color=c, label=label) for label, (m, c) in marks.items()]


def _mean(seeds: Sequence[Mapping[str, Json]], key: str) -> float:
    return 100 * statistics.mean(seed[key] for seed in seeds)
