"""Channel numbers as text, "0-3,7": how an assignment file says which output channels a circuit serves."""

import re
from collections.abc import Iterable
from itertools import groupby

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
_MOST = 1 << 20  # channels of a layer; "0-99999999999" is a slip


def to_ranges(channels: Iterable[int]) -> str:
    """Rising channel numbers as ranges, 0, 1, 2, 5 -> "0-2,5"."""
    parts = []
    for _, run in groupby(enumerate(channels), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        parts.append(f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}")
    return ",".join(parts)


def from_ranges(text: str) -> list[int]:
    """The channel numbers that ranges stand for, in the order of the text.

    Raises:
        ValueError: it is not of the form "0-3,7".
    """
    channels: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < _MOST:
            raise ValueError(f'expected channel numbers such as "0-3,7", got {text!r}')
        channels += range(first, last + 1)
    return channels
