"""`picojoule trace` on the digits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import approx
from picojoule.config import DataConfig
from picojoule.data import load_data
from picojoule.errors import UserError
from picojoule.sources import open_float

Command = Callable[..., dict[str, Any]]


def test_the_file_holds_what_the_library_gives(command: Command, demo_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "traces.safetensors"
    about = command("trace", "demo-cnn", "--weights", demo_weights, "--out", out, "--images", 100, "--patches", 64)
    batches = load_data(DataConfig(name="digits")).calibration_batches(100, 250)
    expected = approx.trace(approx.quantise(open_float("demo-cnn", str(demo_weights), None), batches), batches, 64)
    found = approx.load_traces(out)
    assert list(found) == list(expected) == [row["layer"] for row in about["layers"]]
    for row, (name, layer) in zip(about["layers"], expected.items(), strict=True):
        assert np.array_equal(found[name].patches, layer.patches)
        assert (row["macs"], row["fan_in"], row["accumulator_std"]) == (layer.macs, layer.fan_in, layer.accumulator_std)
        assert row["zero_codes"] == pytest.approx((layer.patches == layer.input_zero).mean())
    assert about["images"] == 100 and sum(row["macs"] for row in about["layers"]) == 1_004_864


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_picture(command: Command, demo_weights: Path, tmp_path: Path, suffix: str, magic: bytes) -> None:
    picture = tmp_path / f"codes{suffix}"
    command("trace", "demo-cnn", "--weights", demo_weights, "--out", tmp_path / "t.safetensors", "--picture", picture)
    assert picture.read_bytes().startswith(magic)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--out": "t.pt"}, r"t\.pt: expected a file ending in \.safetensors"),
        ({"--picture": "t.jpg"}, r"t\.jpg: expected a picture ending in \.svg or \.png, got '\.jpg'"),
        ({"--weights": None}, r"'demo-cnn' needs its trained weights: --weights FILE"),
        ({"--data": "digit"}, "unknown data set 'digit'; did you mean 'digits'"),
        ({"--set": "select.patch=3"}, "select.patch: unknown key; did you mean 'patches'"),
    ],
)
def test_mistakes_leave_nothing(
    command: Command,
    demo_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str | None],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"--weights": str(demo_weights), "--out": "new/t.safetensors", **changed}
    with pytest.raises((UserError, ValueError), match=message):
        command("trace", "demo-cnn", *(part for pair in options.items() if pair[1] is not None for part in pair))
    assert not list(tmp_path.iterdir())
