"""How many channels each group kept, as a picture (.svg, .png) by matplotlib."""

from collections.abc import Mapping
from pathlib import Path

from picojoule.files import atomic_path

WHOLE, KEPT = "#d5dde6", "#2b6cb0"


def draw_kept(kept: Mapping[str, tuple[int, int]], title: str, path: Path) -> None:
    """One bar a group: its channels before, and how many of them are kept.

    Args:
        kept: group name -> (channels kept, channels before), in the order of the network.
        title: of the picture.
        path: .svg or .png.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.5 + 0.22 * len(kept)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(kept))
    axes.barh(rows, [100] * len(kept), color=WHOLE, height=0.75, label="cut")
    axes.barh(rows, [100 * now / before for now, before in kept.values()], color=KEPT, height=0.75, label="kept")
    for row, (now, before) in enumerate(kept.values()):
        axes.text(101, row, f"{now} of {before}", va="center", fontsize=8)
    axes.set_yticks(rows, list(kept), fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 114), ylim=(len(kept) - 0.5, -0.5), xticks=range(0, 101, 20), xlabel="channels, %", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    with atomic_path(path) as temporary:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)
