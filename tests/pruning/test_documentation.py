"""docs/pruning.md: its table of criteria is whole, and its examples run."""

import re
from pathlib import Path
from typing import Any

import pruning

PAGE = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text(encoding="utf-8")


def test_every_criterion_has_a_line_that_tells_whether_it_needs_data():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|[^|]+\| ([a-z ]*?) ?\|", PAGE, re.MULTILINE))
    assert sorted(rows) == pruning.criteria()
    for name, data in rows.items():
        assert (data in ("labels", "images")) == pruning.criterion(name).needs_data, name


def test_selectors_and_schedules_are_named():
    assert all(f"`{name}`" in PAGE for name in (*pruning.selectors(), *pruning.schedules()))


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(block, names)
    result, small = names["result"], names["small"]
    assert len(blocks) == 3 and result.macs_after <= 0.5 * result.macs_before and result.max_difference < 1e-9
    assert small.kept.keys() == {"3"} and small.kept["3"][0] % 4 == 0
    exec(blocks[-1], names)  # everything is done, so it goes on from the end
    assert names["result"].plan.to_json() == result.plan.to_json()
