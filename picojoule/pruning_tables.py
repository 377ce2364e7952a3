"""Tables of `picojoule prune`: what can be pruned and what cannot; what was kept, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from pruning import Explanation

SHOWN_LAYERS = 3


def explanation_rows(explanation: Explanation) -> dict[str, Any]:
    """For JSON."""
    return {
        "groups": [asdict(group) for group in explanation.groups],
        "frozen": [asdict(entry) for entries in explanation.frozen.values() for entry in entries],
        "least_macs": explanation.least,
    }


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Groups, and frozen channels by their reason."""
    table = _table("group", "channels", "MACs saved by half of them", "layers that shrink together")
    for group in explanation.groups:
        table.add_row(group.name, str(group.units), f"{100 * group.share:.1f} %", _some(group.layers))
    console.print(table)
    if explanation.frozen:
        frozen = _table("\nleft whole because of", "channels", "of")
        for reason, entries in explanation.frozen.items():
            channels = sum(entry.count for entry in entries)
            frozen.add_row(reason, str(channels), _some([f"{entry.tensor} axis {entry.axis}" for entry in entries]))
        console.print(frozen)
    console.print(f"\nwith one channel left in every group: {100 * explanation.least:.2f} % of the MACs")


def print_pruned(values: Mapping[str, Any], console: Console) -> None:
    """Sizes before and after, and the accuracy after every step."""
    sizes = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("", "before", "after", "kept"):
        sizes.add_column(column, justify="right" if column else "left")
    for name, key in (("MACs per image", "macs"), ("parameters", "params")):
        before, after = values[f"{key}_before"], values[f"{key}_after"]
        sizes.add_row(name, f"{before:,.0f}", f"{after:,.0f}", f"{100 * after / before:.1f} %")
    groups = values["kept"].values()
    channels = [sum(counts) for counts in zip(*groups, strict=True)]
    sizes.add_row("channels", str(channels[1]), str(channels[0]), f"{100 * channels[0] / channels[1]:.1f} %")
    console.print(sizes)
    steps = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("", "MACs kept", f"top-1 on {values['validation_images']} validation images"):
        steps.add_column(column, justify="right" if column else "left")
    for step in values["steps"]:
        steps.add_row(step["what"], f"{100 * step['macs']:.1f} %", f"{100 * step['accuracy_validation']:.2f} %")
    console.print(steps)
    if "test_images" in values:
        before, after = (100 * values[f"test_accuracy_{when}"] for when in ("before", "after"))
        console.print(f"top-1 on {values['test_images']} test images: {before:.2f} % before, {after:.2f} % after")
    console.print(f"masked and cut network differ by {values['max_difference']:.1e} at most (relative, fp64)")
    for what in ("plan", "weights", "picture"):
        console.print(f"{what}: {values[what]}", soft_wrap=True)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_LAYERS
    return ", ".join(names[:SHOWN_LAYERS]) + (f" and {rest} more" if rest > 0 else "")


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        is_number = 0 < number < len(columns) - 1
        table.add_column(column, justify="right" if is_number else "left", no_wrap=number != len(columns) - 1)
    return table
