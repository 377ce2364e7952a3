"""The file users edit: patterns, precedence, round trip, every kind of mistake."""

import json
from pathlib import Path

import pytest

from approx import Assignment, Choice, Operands

NAMES = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "linear"]


def test_exact_names_win_over_patterns_and_long_patterns_over_short() -> None:
    chosen = Assignment({"conv1": Choice("a"), "*": Choice("b"), "layer1.*": Choice("c")}).resolve(NAMES)
    assert {k: v.multiplier for k, v in chosen.items()} == {
        "conv1": "a",
        "layer1.0.conv1": "c",
        "layer1.0.conv2": "c",
        "linear": "b",
    }


def test_round_trip(tmp_path: Path) -> None:
    assignment = Assignment({"layer1.*": Choice("x", Operands.AFFINE, True), "linear": Choice("y")})
    assignment.save(tmp_path / "a.json")
    assert Assignment.load(tmp_path / "a.json") == assignment


def test_a_name_alone_is_enough() -> None:
    assert Assignment.from_json({"version": 1, "layers": {"conv1": "m"}}).layers["conv1"] == Choice("m")


def test_a_layer_that_does_not_exist_is_named_with_its_neighbours() -> None:
    with pytest.raises(ValueError, match=r"layer1\.0\.conv3.*did you mean.*layer1\.0\.conv"):
        Assignment({"layer1.0.conv3": Choice("m")}).resolve(NAMES)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"layers": {}}, "expected"),
        ({"version": 2, "layers": {}}, "version 2"),
        ({"version": 1, "layers": []}, "must be an object"),
        ({"version": 1, "layers": {"a": 3}}, "layer 'a'"),
        ({"version": 1, "layers": {"a": {"multiplier": "m", "colour": 1}}}, "unknown keys"),
        ({"version": 1, "layers": {"a": {"multiplier": "m", "operands": "ternary"}}}, "none of"),
        ({"version": 1, "layers": {"a": {"multiplier": "m", "swap": "yes"}}}, "true or false"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, document: object, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message):
        Assignment.load(path)


def test_a_broken_file_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": 1,\n "layers": }')
    with pytest.raises(ValueError, match=r"a\.json:2: not JSON"):
        Assignment.load(tmp_path / "a.json")


def test_names_do_for_choices_and_codings() -> None:
    assert Assignment({"a": "mul8u_exact"}) == Assignment({"a": Choice("mul8u_exact")})  # type: ignore[dict-item]
    assert Choice("m", "affine").operands is Operands.AFFINE  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected operands among .*'affine'.*, got 'ternary'"):
        Choice("m", "ternary")  # type: ignore[arg-type]
