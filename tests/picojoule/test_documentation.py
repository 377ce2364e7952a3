"""docs/own.md: its module works on the command line as it says."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = (Path(__file__).parents[2] / "docs" / "own.md").read_text(encoding="utf-8")


def test_own_network_and_data(
    command: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import mine  # type: ignore[import-not-found]

    torch.save(mine.network().state_dict(), "weights.pt")
    lines = re.findall(r"^    picojoule ((?:[^\n\\]|\\\n)*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    found = [command(*line.replace("\\\n", " ").split(), *_few(line)) for line in lines]
    assert [group["units"] for group in found[0]["groups"]] == [8, 16]
    assert found[1]["macs_after"] <= 0.5 * found[1]["macs_before"] and found[1]["validation_images"] == 100
    assert Path("front/front.json").is_file()
    sys.modules.pop("mine")


def _few(line: str) -> tuple[object, ...]:
    small = ("--set", "select.tune=false", "--set", 'select.circuits=["mul8u_exact", "mul8u_trunc4"]')
    return ("--images", 64, "--operands", "sign-magnitude", *small) if line.startswith("select") else ()
