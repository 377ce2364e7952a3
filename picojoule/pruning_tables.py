"""Tables of `picojoule prune`: what can be pruned and what cannot; what was kept, and what it cost."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from pruning import Explanation
from pruning.explanation import GroupRow
from pruning.groups import Frozen

SHOWN_LAYERS = 3


def explanation_rows(explanation: Explanation) -> dict[str, Any]:
    """For JSON."""
    return {
        "groups": [asdict(group) for group in explanation.groups],
        "frozen": [asdict(entry) for entries in explanation.frozen.values() for entry in entries],
        "least_macs": explanation.least,
    }


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Groups, those of repeated layers in one row, and frozen channels by their reason."""
    table = _table("group", "alike", "channels", "MACs saved by half of them", "layers that shrink together")
    for alike in _alike(explanation.groups):
        first = alike[0]
        table.add_row(
            first.name, f"x {len(alike)}", str(first.units), f"{100 * first.share:.1f} %", _some(first.layers)
        )
    console.print(table)
    if explanation.frozen:
        frozen = _table("\nleft whole because of", "channels", "of")
        for reason, entries in _reasons(explanation).items():
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
    if not values["losses"]:
        more = "" if values["statistics_images"] else ", --reestimate 4096 some of it in seconds"
        console.print(f"not trained: --epochs 2 wins back much of what a cut costs{more}")
    if "test_images" in values:
        before, after = (100 * values[f"test_accuracy_{when}"] for when in ("before", "after"))
        console.print(f"top-1 on {values['test_images']} test images: {before:.2f} % before, {after:.2f} % after")
    console.print(f"masked and cut network differ by {values['max_difference']:.1e} at most (relative, fp64)")
    for what in ("plan", "weights", "picture"):
        console.print(f"{what}: {values[what]}", soft_wrap=True)


def _alike(groups: Sequence[GroupRow]) -> list[list[GroupRow]]:
    """Groups whose names differ in numbers only, of as many channels in as many layers, that save alike."""
    found: dict[tuple[str, int, int, str], list[GroupRow]] = {}
    for group in groups:
        key = (_without_numbers(group.name), group.units, len(group.layers), f"{group.share:.3f}")
        found.setdefault(key, []).append(group)
    return list(found.values())


def _reasons(explanation: Explanation) -> dict[str, list[Frozen]]:
    """Frozen channels by the first of the reasons that differ in numbers only."""
    found: dict[str, tuple[str, list[Frozen]]] = {}
    for reason, entries in explanation.frozen.items():
        found.setdefault(_without_numbers(reason), (reason, []))[1].extend(entries)
    return dict(found.values())


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_LAYERS
    return ", ".join(names[:SHOWN_LAYERS]) + (f" and {rest} more" if rest > 0 else "")


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        is_number = 0 < number < len(columns) - 1
        table.add_column(column, justify="right" if is_number else "left", no_wrap=number != len(columns) - 1)
    return table
