"""Splits Verilog text into tokens; comments, attributes and harmless compiler directives disappear here."""

from __future__ import annotations

import re

from multipliers.readers.errors import NetlistError
from multipliers.readers.limits import MAX_BYTES, MAX_TOKENS

_BLANKED = re.compile(
    r"""\\\S+                                      # an escaped identifier may hold // or (*
      | "[^"\n]*"
      | //[^\n]*
      | /\*(?:.*?\*/|(?P<comment>))                # the empty alternatives report what is never closed
      | \(\*(?!\s*\))(?:(?:"[^"\n]*"|[^"])*?\*\)|(?P<attribute>))
    """,
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(
    r"\\\S+|[A-Za-z_$][\w$]*"
    r"|(?:[0-9][0-9_]*\s*)?'\s*[sS]?[A-Za-z]\s*[\w?]+|[0-9][0-9_]*"
    r"|~&|~\||~\^|\^~|&&|\|\||==|!=|<<|>>|<=|>=|\S",
    re.ASCII,
)
_IGNORED_DIRECTIVES = frozenset({"timescale", "default_nettype", "celldefine", "endcelldefine", "resetall", "line"})


class Tokens:
    """The tokens of a file and a position in them.

    Attributes:
        texts: token texts, closed by an empty one; escaped identifiers keep their backslash.
        lines: line of each token.
        at: index of the next token.
    """

    def __init__(self, text: str) -> None:
        """Tokenise a whole file.

        Raises:
            NetlistError: if it is too long, a comment never ends, or it needs a preprocessor.
        """
        if len(text) > MAX_BYTES:
            raise NetlistError(f"expected at most {MAX_BYTES} characters, got {len(text)}")
        self.texts: list[str] = []
        self.lines: list[int] = []
        self.at = 0
        number = 1
        for number, line in enumerate(_without_comments(text).split("\n"), start=1):
            if "`" in line and _is_directive(line, number):
                continue
            found = _TOKEN.findall(line)
            self.texts += found
            self.lines += [number] * len(found)
            if len(self.texts) > MAX_TOKENS:
                raise NetlistError(f"expected at most {MAX_TOKENS} words and symbols", number)
        self.texts.append("")
        self.lines.append(number)

    @property
    def next(self) -> str:
        """The next token, not taken; empty at the end of the file."""
        return self.texts[self.at]

    @property
    def line(self) -> int:
        """Line of the next token."""
        return self.lines[self.at]

    def take(self) -> str:
        """Take the next token."""
        text = self.texts[self.at]
        if not text:
            raise NetlistError("the file ends in the middle of a statement", self.line)
        self.at += 1
        return text

    def accept(self, text: str) -> bool:
        """Take the next token if it is ``text``."""
        if self.texts[self.at] != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        """Take the next token, which must be ``text``."""
        if self.texts[self.at] != text:
            raise self.unexpected(f"'{text}'")
        self.at += 1

    def unexpected(self, wanted: str) -> NetlistError:
        """The error for a next token that is not what was wanted."""
        found = f"'{self.next[:40]}'" if self.next else "the end of the file"
        return NetlistError(f"expected {wanted}, got {found}", self.line)


def _without_comments(text: str) -> str:
    def blank(match: re.Match[str]) -> str:
        if match.lastgroup:
            line = text.count("\n", 0, match.start()) + 1
            raise NetlistError(f"this {match.lastgroup} is never closed", line)
        found = match.group()
        return found if found[0] in '\\"' else " " + "\n" * found.count("\n")

    return _BLANKED.sub(blank, text)


def _is_directive(line: str, number: int) -> bool:
    """Whether a line is a directive that may be ignored; the others would need a preprocessor."""
    match = re.match(r"\s*`(\w*)", line)
    if match is None:
        return False
    if match[1] in _IGNORED_DIRECTIVES:
        return True
    raise NetlistError(f"compiler directive `{match[1]} is not supported; run a preprocessor first", number)
