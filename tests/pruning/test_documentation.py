"""The table of criteria in docs/pruning.md is whole."""

import re
from pathlib import Path

import pruning

PAGE = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text(encoding="utf-8")


def test_every_criterion_has_a_line_that_tells_whether_it_needs_data():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|[^|]+\| ([a-z ]*?) ?\|", PAGE, re.MULTILINE))
    assert sorted(rows) == pruning.criteria()
    for name, data in rows.items():
        assert (data in ("labels", "images")) == pruning.criterion(name).needs_data, name


def test_selectors_and_schedules_are_named():
    assert all(f"`{name}`" in PAGE for name in (*pruning.selectors(), *pruning.schedules()))
