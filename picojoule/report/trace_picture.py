"""How often each activation code reaches the multipliers of each layer, as a picture (.svg, .png) by matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from approx import LayerTrace
from picojoule.files import atomic_path


def draw_codes(traces: Mapping[str, LayerTrace], path: Path) -> None:
    """One row a layer, one column a code; darker is more frequent.

    Args:
        traces: by layer name.
        path: .svg or .png.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    shares = np.array([trace.code_histogram for trace in traces.values()])
    figure = Figure(figsize=(9, 1.6 + 0.22 * len(shares)), layout="constrained")
    axes = figure.subplots()
    norm = LogNorm(vmin=1e-4, vmax=1.0)
    image = axes.imshow(np.maximum(shares, 1e-4), cmap="Blues", norm=norm, aspect="auto", interpolation="none")
    axes.set_yticks(range(len(shares)), list(traces), fontsize=8)
    axes.set(xlabel="activation code", title="share of the multiplications' activation operands")
    for number, trace in enumerate(traces.values()):
        axes.plot([trace.input_zero - 0.5] * 2, [number - 0.5, number + 0.5], color="#c2470a", lw=1.2)
    axes.plot([], [], color="#c2470a", lw=1.2, label="zero point")
    axes.legend(loc="lower right", fontsize=8)
    figure.colorbar(image, ax=axes, pad=0.01, label="share (0.01 % and less: white)")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
