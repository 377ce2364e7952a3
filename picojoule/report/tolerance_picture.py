"""What each layer bears, as bars (.svg, .png) by matplotlib."""

import math
from pathlib import Path

from noise_models import Tolerance
from picojoule.files import atomic_path


def draw_tolerance(tolerance: Tolerance, path: Path) -> None:
    """One bar a layer: the relative std it bears, on a logarithmic axis.

    Args:
        tolerance: of every layer.
        path: .svg or .png.
    """
    from matplotlib.figure import Figure

    levels = {name: 100 * layer.level for name, layer in tolerance.layers.items()}
    finite = [level for level in levels.values() if 0 < level < math.inf]
    low, high = min(finite, default=1.0) / 2, max(finite, default=1.0) * 3
    figure = Figure(figsize=(7.5, 1.4 + 0.24 * len(levels)), layout="constrained")
    axes = figure.subplots()
    shown = [min(max(level, low), high) for level in levels.values()]
    axes.barh(range(len(levels)), [level - low for level in shown], left=low, color="#2166c4", height=0.7)
    for row, (level, end) in enumerate(zip(levels.values(), shown, strict=True)):
        axes.text(end * 1.04, row, "any" if level == math.inf else f"{level:.3g}", va="center", fontsize=8)
    axes.set_yticks(range(len(levels)), list(levels), fontsize=8)
    axes.invert_yaxis()
    axes.set(xscale="log", xlim=(low, high * 1.3), title=f"Error each layer bears ({tolerance.method})")
    axes.set_xlabel("std of the error (% of the layer's output std)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
