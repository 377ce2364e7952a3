"""`picojoule tolerance` on the digits: what is written, and that an interrupted search goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from approx import load_traces
from noise_models import Sensitivity, Tolerance
from picojoule.errors import UserError

Command = Callable[..., dict[str, Any]]
AGN = ("--method", "agn", "--epochs", 2, "--set", "data.batch_size=256")


def test_fisher_leaves_its_sensitivity_beside(command: Command, demo_weights: Path, tmp_path: Path) -> None:
    out, picture, traces = (tmp_path / name for name in ("bears.json", "bears.png", "t.safetensors"))
    source = ("demo-cnn", "--weights", demo_weights, "--set", "data.calibration_images=128")
    about = command("tolerance", *source, "--out", out, "--images", 128, "--picture", picture)
    command("trace", *source, "--out", traces)
    found, beside = Tolerance.load(out), tmp_path / "bears.sensitivity.safetensors"
    expected = Sensitivity.load(beside).tolerance(load_traces(traces))
    for name, layer in expected.layers.items():
        np.testing.assert_allclose(found[name].relative, layer.relative)
    assert about["method"] == "fisher" and about["files"] == [str(beside), str(out)]
    assert {row["layer"]: row["relative"] for row in about["layers"]} == {n: t.level for n, t in found.layers.items()}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {p.name for p in tmp_path.iterdir()} == {out.name, beside.name, picture.name, traces.name}


def test_an_interrupted_search_goes_on_to_the_same_end(
    command: Command, interrupted: Callable[..., None], demo_weights: Path, tmp_path: Path
) -> None:
    search = ("tolerance", "demo-cnn", "--weights", demo_weights, *AGN)
    command(*search, "--out", tmp_path / "whole.json")
    halves = tmp_path / "halves.json"
    interrupted("noise_models.agn.search.AgnSearch._step", 6, *search, "--out", halves)  # of 2 x 4 steps
    assert not halves.exists() and (tmp_path / ".halves.json.work").is_dir()
    command(*search, "--out", halves)
    assert halves.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"whole.json", "halves.json"}


def test_a_checkpoint_of_other_settings_is_not_taken_up(
    command: Command, interrupted: Callable[..., None], demo_weights: Path, tmp_path: Path
) -> None:
    search = ("tolerance", "demo-cnn", "--weights", demo_weights, *AGN, "--out", tmp_path / "t.json")
    interrupted("noise_models.agn.search.AgnSearch._step", 6, *search)
    command(*search, "--set", "tolerance.sigma_init=0.2")
    started_at = Tolerance.load(tmp_path / "t.json").parameters["sigma_init"]
    assert started_at == 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "guess"), "tolerance.method: expected 'agn', .*got \"guess\""),
        (("--preset", "resnet21"), "tolerance.preset: expected .*'resnet20'"),
        (("--set", "tolerance.lamda=0.1"), "did you mean 'lambda'"),
        (("--picture", "t.gif"), r"got '\.gif'"),
    ],
)
def test_mistakes_leave_nothing(
    command: Command, demo_weights: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        command("tolerance", "demo-cnn", "--weights", demo_weights, "--out", tmp_path / "t.json", *options)
    assert not list(tmp_path.iterdir())
