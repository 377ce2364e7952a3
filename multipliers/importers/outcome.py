"""What an import brought in, and what is wrong with what it read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from multipliers.library import Library


@dataclass(frozen=True)
class Mismatch:
    """A published figure that the circuit itself contradicts.

    Attributes:
        circuit: name.
        figure: as it is printed there, e.g. ``"MAE%"``.
        printed: the published text.
        actual: what the circuit gives, in the same unit.
        file: where the figure is printed.
    """

    circuit: str
    figure: str
    printed: str
    actual: float
    file: str

    def __str__(self) -> str:
        where = f"{self.file}, '{self.circuit}'"
        return f"{where}: published {self.figure} is {self.printed}, the circuit gives {self.actual:.6g}"


@dataclass(frozen=True)
class Skipped:
    """A file or entry that was left out, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Import:
    """The outcome of reading one source.

    Attributes:
        library: the circuits, in the order of the source; each keeps its source, name and content hash.
        mismatches: published figures that are wrong.
        skipped: what could not be taken.
    """

    library: Library
    mismatches: tuple[Mismatch, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def joined(cls, parts: Iterable[Import]) -> Import:
        """Several outcomes as one.

        Raises:
            ValueError: two circuits share a name.
        """
        parts = list(parts)
        return cls(
            Library(multiplier for part in parts for multiplier in part.library.values()),
            tuple(mismatch for part in parts for mismatch in part.mismatches),
            tuple(skipped for part in parts for skipped in part.skipped),
        )
