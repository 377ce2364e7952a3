"""Damaged netlists: whatever happens to a file, reading it succeeds or raises NetlistError, and soon."""

import random
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multipliers.families.drum import Drum
from multipliers.families.exact import Exact
from multipliers.readers import NetlistError, parse_verilog, parse_yosys_json
from multipliers.readers.expression_parser import KEYWORDS
from multipliers.writers.verilog import write_verilog

FIXTURES = Path(__file__).parent / "fixtures"
VERILOG = [path.read_text() for path in sorted(FIXTURES.glob("*.v"))]
VERILOG += [write_verilog(family.netlist(4)) for family in (Exact(), Drum(3))]
JSON = [path.read_text() for path in sorted(FIXTURES.glob("*.json"))]
WORDS = re.compile(r"\w+|\s+|[^\w\s]")
ALPHABET = "()[]{}.,;:=&|^~+-?#*!@`\"'\\/\n 0123456789abxzABNOY_$\0µ\u2028"
DEADLINE = timedelta(seconds=10)
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


def damaged(text: str, seed: int) -> str:
    """Half of the time nonsense, half of the time still Verilog or JSON but another, mostly wrong, circuit."""
    rng = random.Random(seed)
    words = WORDS.findall(text)
    change = rng.choice((broken, misplaced))
    for _ in range(rng.choice((1, 1, 2, 3, 8, 40))):
        words = change(words, rng) or [" "]
    return "".join(words)


def broken(words: list[str], rng: random.Random) -> list[str]:
    """One token deleted, swapped, repeated or exchanged, one character changed, or the end cut off."""
    i, j = rng.randrange(len(words)), rng.randrange(len(words))
    kind = rng.randrange(8)
    if kind == 0:
        words[i] = ""
    elif kind == 1:
        words[i], words[j] = words[j], words[i]
    elif kind == 2:
        words[i] *= rng.choice((2, 3, 500))
    elif kind == 3:
        words[i] = words[j]
    elif kind == 4:
        words[i] = rng.choice(ALPHABET) + words[i][1:]
    elif kind == 5:
        words[i] += "".join(rng.choices(ALPHABET, k=rng.randrange(1, 9)))
    elif kind == 6:
        words[i : i + 1] = words[min(i, j) : min(i, j) + rng.randrange(30)]
    elif rng.random() < 0.3:
        words = words[: i + 1]
    return words


def misplaced(words: list[str], rng: random.Random) -> list[str]:
    """One name, number or operator replaced by another one of the file, or one line repeated or deleted."""
    i = rng.randrange(len(words))
    if rng.random() < 0.2:
        lines = "".join(words).splitlines(keepends=True)
        k = rng.randrange(len(lines))
        lines[k : k + 1] = rng.choice(([], [lines[k], lines[k]]))
        return WORDS.findall("".join(lines))
    similar = [word for word in words if word[0].isdigit() == words[i][0].isdigit() and word.isalnum()]
    if words[i] in "&|^+-~":
        words[i] = rng.choice("&|^+-~")
    elif words[i].isalnum() and words[i] not in KEYWORDS:
        words[i] = rng.choice(similar)
    return words


def read(text: str, *, json: bool) -> None:
    try:
        (parse_yosys_json if json else parse_verilog)(text)
    except NetlistError as error:
        assert error.message and str(error).startswith("<text>:")


inputs = st.one_of(
    st.tuples(st.sampled_from(VERILOG), st.integers(0, 2**32), st.just(False)),
    st.tuples(st.sampled_from(JSON), st.integers(0, 2**32), st.just(True)),
)


def check(source: tuple[str, int, bool]) -> None:
    text, seed, json = source
    read(damaged(text, seed), json=json)


@settings(max_examples=500, deadline=DEADLINE, suppress_health_check=QUIET)
@given(inputs)
def test_damaged_files_are_read_or_refused(source: tuple[str, int, bool]) -> None:
    check(source)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=DEADLINE, suppress_health_check=QUIET)
@given(inputs)
def test_ten_thousand_damaged_files_are_read_or_refused(source: tuple[str, int, bool]) -> None:
    check(source)


@settings(max_examples=200, deadline=DEADLINE)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_refused(data: bytes, json: bool) -> None:
    with pytest.raises(NetlistError):
        (parse_yosys_json if json else parse_verilog)(data.decode("utf-8", errors="replace"))


@settings(max_examples=200, deadline=DEADLINE)
@given(st.text(ALPHABET, max_size=60))
def test_random_expressions_are_read_or_refused(expression: str) -> None:
    read(f"module m(input [1:0] A, B, output [1:0] O);\nassign O = {expression};\nendmodule", json=False)
