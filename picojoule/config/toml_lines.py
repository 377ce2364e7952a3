"""On which line of a TOML text each key stands; `tomllib` does not tell.

The text must already have been accepted by `tomllib`, so that only its structure is followed here.
"""

import tomllib
from bisect import bisect_right

Location = tuple[str | int, ...]
_SPACE = " \t\r\n"
_SCALAR_END = ",]}#\n"


def index_lines(text: str) -> dict[Location, int]:
    """Maps every table, key and array element, for instance ("select", "operands", 1), to its line, from 1.

    A table that is only implied (`[a.b]` implies `a`) has the line where it is first mentioned.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: dict[Location, int], location: Location) -> int | None:
    """Line of the location or, where it is not in the text, of the closest thing around it."""
    for length in range(len(location), 0, -1):
        if location[:length] in lines:
            return lines[location[:length]]
    return None


class _Scanner:
    """Walks the text once, recording where each location starts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Location, int] = {}
        self._starts = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]
        self._array_lengths: dict[Location, int] = {}

    def document(self) -> None:
        table: Location = ()
        while self._skip_blank():
            if self.text.startswith("[[", self.at):
                table = self._header(2, is_array=True)
            elif self.text[self.at] == "[":
                table = self._header(1, is_array=False)
            else:
                self._pair(table)

    def _header(self, brackets: int, *, is_array: bool) -> Location:
        line = self._line()
        self.at += brackets
        keys = self._dotted_key()
        self._skip_blank()
        self.at += brackets
        location: Location = ()
        for i, key in enumerate(keys):
            location = (*location, key)
            self.lines.setdefault(location, line)
            if is_array and i == len(keys) - 1:
                self._array_lengths[location] = self._array_lengths.get(location, 0) + 1
            if location in self._array_lengths:
                location = (*location, self._array_lengths[location] - 1)
        if location not in self.lines or not is_array:
            self.lines[location] = line
        return location

    def _pair(self, table: Location) -> None:
        line = self._line()
        location = table
        for key in self._dotted_key():
            location = (*location, key)
            self.lines.setdefault(location, line)
        self._skip_blank()
        self.at += 1  # =
        self._skip_blank()
        self._value(location)

    def _dotted_key(self) -> list[str]:
        keys = [self._key()]
        while self._skip_blank() and self.text[self.at] == ".":
            self.at += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip_blank()
        start = self.at
        if self.text[start] in "\"'":
            self._string()
            return str(tomllib.loads(f"k = {self.text[start : self.at]}")["k"])
        while self.text[self.at].isalnum() or self.text[self.at] in "-_":
            self.at += 1
        return self.text[start : self.at]

    def _value(self, location: Location) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(location)
        elif first == "{":
            self._inline_table(location)
        else:
            while self.at < len(self.text) and self.text[self.at] not in _SCALAR_END:
                self.at += 1

    def _array(self, location: Location) -> None:
        self.at += 1
        count = 0
        while self._skip_blank() and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.lines[(*location, count)] = self._line()
            self._value((*location, count))
            count += 1
        self.at += 1

    def _inline_table(self, location: Location) -> None:
        self.at += 1
        while self._skip_blank() and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self.at += 1
            else:
                self._pair(location)
        self.at += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        is_long = self.text.startswith(quote * 3, self.at)
        closing = quote * 3 if is_long else quote
        self.at += len(closing)
        while not self.text.startswith(closing, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(closing)
        while is_long and self.text.startswith(quote, self.at):  # up to two quotes may precede the closing three
            self.at += 1

    def _skip_blank(self) -> bool:
        """Moves over spaces, line ends and comments; False at the end of the text."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in _SPACE:
                self.at += 1
            else:
                return True
        return False

    def _line(self) -> int:
        return bisect_right(self._starts, self.at)
