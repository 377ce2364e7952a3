"""Progress on standard error: a rich bar on a terminal, a plain line every ten seconds elsewhere.

    for images, labels in track(loader, "retrain"):
        ...

Standard output stays free for results.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
LINE_EVERY_S = 10.0


class Reporter(Protocol):
    """Told once per step how far the work is; `note` is a short text such as "loss 0.41"."""

    def __call__(self, note: str = "", *, steps: int = 1) -> None:
        """Reports that `steps` more steps are done."""


class _LineReporter:
    """Writes "retrain 120/351 (34 %), 12 s, loss 0.41" at most every `LINE_EVERY_S` seconds, and once at the end."""

    def __init__(
        self, name: str, total: int | None, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._total, self._stream, self._clock = name, total, stream, clock
        self._done, self._note = 0, ""
        self._start = self._last = clock()

    def __call__(self, note: str = "", *, steps: int = 1) -> None:
        self._done += steps
        self._note = note or self._note
        if self._clock() - self._last >= LINE_EVERY_S:
            self.write()

    def write(self) -> None:
        self._last = self._clock()
        share = f"/{self._total} ({100 * self._done // self._total} %)" if self._total else ""
        note = f", {self._note}" if self._note else ""
        print(
            f"{self._name} {self._done}{share}, {self._last - self._start:.0f} s{note}",
            file=self._stream,
            flush=True,
        )


@contextmanager
def _bar(name: str, total: int | None, stream: TextIO) -> Iterator[Reporter]:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(file=stream), transient=False) as progress:
        task = progress.add_task(name, total=total, note="")

        def report(note: str = "", *, steps: int = 1) -> None:
            if note:
                progress.update(task, note=note)
            progress.advance(task, steps)

        yield report


@contextmanager
def _lines(name: str, total: int | None, stream: TextIO) -> Iterator[Reporter]:
    reporter = _LineReporter(name, total, stream)
    yield reporter
    reporter.write()


def progress(name: str, total: int | None = None, *, stream: TextIO | None = None) -> AbstractContextManager[Reporter]:
    """Progress of work that is no plain loop: `with progress("search", 240) as step: ... step("best 0.91")`.

    Args:
        name: shown in front.
        total: number of steps, None where unknown.
        stream: standard error unless given.
    """
    stream = sys.stderr if stream is None else stream
    show = _bar if stream.isatty() else _lines
    return show(name, total, stream)


def track(items: Iterable[T], name: str, *, total: int | None = None, stream: TextIO | None = None) -> Iterator[T]:
    """Yields the items of `items` and reports progress.

    Args:
        items: anything iterable; its length is the total where it has one.
        name: shown in front.
        total: number of items where `items` has no length.
        stream: standard error unless given.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(name, total, stream=stream) as report:
        for item in items:
            yield item
            report()
