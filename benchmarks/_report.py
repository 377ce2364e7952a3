"""What every benchmark shares: rows with goals, timing, the environment, Markdown and JSON out."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "torchvision", "numpy", "apache-tvm", "apache-tvm-ffi", "onnxruntime", "torch-pruning")


@dataclass(frozen=True)
class Row:
    """One measured case.

    Attributes:
        case: what was measured.
        value: the measurement.
        unit: its unit; "x fp32" is a ratio of times.
        goal: the value to reach, None where none was set.
        holds: whether it was reached, None without a goal.
        peer: what it is compared with, with the peer's own figure.
    """

    case: str
    value: float
    unit: str
    goal: float | None = None
    holds: bool | None = None
    peer: str = ""


def at_most(case: str, value: float, unit: str, goal: float | None = None, peer: str = "") -> Row:
    """A row whose value should not exceed its goal."""
    return Row(case, value, unit, goal, None if goal is None else value <= goal, peer)


def at_least(case: str, value: float, unit: str, goal: float | None = None, peer: str = "") -> Row:
    """A row whose value should reach its goal."""
    return Row(case, value, unit, goal, None if goal is None else value >= goal, peer)


def seconds(function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call in seconds, by default of the wall; `time.process_time` counts this process's work only."""
    start = clock()
    function()
    return clock() - start


@dataclass(frozen=True)
class Ratio:
    """Interleaved comparison: medians of the two times in seconds, and the median of the ratios."""

    ours: float
    peer: float
    ratio: float


def interleaved(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Times peer, ours, peer in turn; each round's ratio is ours over the mean of the peers around it.

    Interleaving makes a busy neighbour slow both sides, and the median drops the rounds it hit unevenly.
    """
    ours()
    peer()
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        before, middle, after = (seconds(function, clock) for function in (peer, ours, peer))
        times.append((middle, (before + after) / 2))
    return Ratio(
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(a / b for a, b in times),
    )


def environment() -> dict[str, Any]:
    """Versions and processor facts a reader needs to judge the figures."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        **versions,
    }


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| case | value | goal | holds | peer |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:g}"
        holds = {None: "", True: "yes", False: "**no**"}[row.holds]
        lines.append(f"| {row.case} | {row.value:.3g} {row.unit} | {goal} | {holds} | {row.peer} |")
    return "\n".join(lines)


def publish(module: str, rows: Sequence[Row], path: Path | None) -> None:
    """Prints the rows as Markdown and, with a path, writes them as JSON with the command and the environment."""
    print(markdown(rows))
    if path is None:
        return
    command = " ".join(["python", "-m", module, *sys.argv[1:]])
    report = {"command": command, "environment": environment(), "rows": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
