"""Tables of `picojoule prune`: what can be pruned and what cannot."""

from collections.abc import Sequence
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


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_LAYERS
    return ", ".join(names[:SHOWN_LAYERS]) + (f" and {rest} more" if rest > 0 else "")


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        is_number = 0 < number < len(columns) - 1
        table.add_column(column, justify="right" if is_number else "left", no_wrap=number != len(columns) - 1)
    return table
