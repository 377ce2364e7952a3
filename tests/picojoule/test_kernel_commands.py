"""`picojoule kernels explain` from the command line."""

import json

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
