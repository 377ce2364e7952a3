"""The one error that reading a netlist raises."""

from __future__ import annotations


class NetlistError(ValueError):
    """A netlist that cannot be read: what is wrong, in which file and on which line.

    Attributes:
        message: what was expected, what came and what to do.
        line: line in the file, counted from 1; None where the format has no lines (JSON).
        file: path or name of the file; set by the public readers.
    """

    def __init__(self, message: str, line: int | None = None, file: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.file = file

    def __str__(self) -> str:
        place = [str(part) for part in (self.file, self.line) if part is not None]
        return f"{':'.join(place)}: {self.message}" if place else self.message
