"""`picojoule kernels explain` and `calibrate` from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from picojoule.cli import app
from picojoule.errors import user_message


def test_explain_lists_every_layer() -> None:
    command = ["kernels", "explain", "demo-cnn", "--circuit", "mul8s_trunc4", "--batch", "2", "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0 and "threads" in result.stdout
    rows = json.loads(result.stdout.strip().splitlines()[-1])["layers"]
    assert len(rows) > 2 and {row["circuit"] for row in rows} == {"mul8s_trunc4"}
    assert all(row["measured_ms"] > 0 and row["path"] != "exact" for row in rows)


def test_calibrate_measures_every_path_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICOJOULE_CACHE", str(tmp_path))
    result = CliRunner().invoke(app, ["kernels", "calibrate", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    paths = {each["path"]: each["factor"] for each in json.loads(result.stdout.strip().splitlines()[-1])["paths"]}
    assert {"gather", "row_table"} <= set(paths) and all(factor > 0 for factor in paths.values())
    (file,) = (tmp_path / "kernels").glob("costs-*.json")
    assert json.loads(file.read_text()) == paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo-cnn"], "say either --circuit"),
        (["demo-cnn", "--circuit", "mul8u_nothing"], "mul8u_nothing"),
        (["nothing", "--circuit", "mul8u_exact"], "nothing"),
    ],
)
def test_mistakes_are_explained(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["kernels", "explain", *arguments])
    assert result.exception is not None and message in str(user_message(result.exception))
