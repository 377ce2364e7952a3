"""`picojoule select` on the digits: limits, files of earlier commands, measured points, interruption."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import approx
from approx import Assignment
from multipliers import default_library
from noise_models import Front, FrontPoint
from picojoule.commands.measuring import Accuracy, spread, worth_measuring
from picojoule.config import DataConfig
from picojoule.data import Loader, load_data
from picojoule.errors import UserError
from picojoule.sources import open_float

Command = Callable[..., dict[str, Any]]
CIRCUITS = '["mul8u_exact", "mul8u_trunc?", "mul8u_bam_h2*", "mul8u_mitchell"]'
FEW = ("--operands", "sign-magnitude", "--set", f"select.circuits={CIRCUITS}", "--images", 64)
UNTUNED = ("--set", "select.tune=false", "--set", "select.candidate_images=50")


@pytest.fixture(scope="module")
def files(demo_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The network, with traces and sensitivities of 128 images."""
    from typer.testing import CliRunner

    from picojoule.cli import app

    folder = tmp_path_factory.mktemp("basis")
    source = ["demo-cnn", "--weights", str(demo_weights), "--set", "data.calibration_images=64"]
    CliRunner().invoke(app, ["trace", *source, "--out", str(folder / "t.safetensors")], catch_exceptions=False)
    command = ["tolerance", *source, "--images", "64", "--out", str(folder / "t.json")]
    CliRunner().invoke(app, command, catch_exceptions=False)
    found = ("--traces", folder / "t.safetensors", "--sensitivity", folder / "t.sensitivity.safetensors")
    return ("select", "demo-cnn", "--weights", demo_weights, *FEW, *found)


def test_files_of_earlier_commands_change_nothing(
    command: Command, files: tuple[object, ...], demo_weights: Path, tmp_path: Path
) -> None:
    command("select", "demo-cnn", "--weights", demo_weights, *FEW, "--out", tmp_path / "alone")
    command(*files, "--out", tmp_path / "with_files")
    alone, with_files = (Front.load(tmp_path / name / "front.json") for name in ("alone", "with_files"))
    assert [p.energy for p in alone] == [p.energy for p in with_files]
    assert [p.assignment for p in alone] == [p.assignment for p in with_files]


def test_every_point_keeps_the_limits(command: Command, files: tuple[object, ...], tmp_path: Path) -> None:
    pin = ("--pin", "stem.*=mul8u_exact", "--pin", "linear=mul8u_trunc4")
    limits = ("--at-most", 3, "--energy", 0.8, "--degradation", 0.05, *pin)
    command(*files, *limits, "--out", tmp_path / "front")
    for point in Front.load(tmp_path / "front" / "front.json"):
        chosen = point.assignment.layers
        assert len({choice.multiplier for choice in chosen.values()}) <= 3
        assert point.energy <= 0.8 and point.degradation <= 0.05
        assert (chosen["stem.0"].multiplier, chosen["linear"].multiplier) == ("mul8u_exact", "mul8u_trunc4")


def test_a_circuit_for_each_channel_is_no_worse(command: Command, files: tuple[object, ...], tmp_path: Path) -> None:
    command(*files, "--out", tmp_path / "layers")
    command(*files, "--circuits-per-layer", 2, "--out", tmp_path / "channels")
    layers, channels = (Front.load(tmp_path / name / "front.json") for name in ("layers", "channels"))
    for price in (1e-3, 1e-1, 1e1, 1e3):  # their convex hulls; single points between may be worse
        least, mixed = (min(p.energy + price * p.degradation for p in front) for front in (layers, channels))
        assert mixed <= least * (1 + 1e-12)
    used = [len(choice.circuits) for p in channels for choice in p.assignment.layers.values()]
    assert max(used) == 2


def test_measured_points_are_what_the_network_gives(
    command: Command, files: tuple[object, ...], demo_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "front"
    about = command(*files, "--measure", 1, "--seeds", 2, "--set", "select.candidate_images=100", "--out", out)
    assert about["images"] == 100 and len(about["written"]) == len(about["uniform"]) == 1
    data, library = load_data(DataConfig(name="digits")), default_library()
    for seed in (0, 1):
        batches = data.calibration_batches(64, 250, seed=seed)
        network = approx.quantise(open_float("demo-cnn", str(demo_weights), None), batches)
        validation = Loader(data.validation.take(slice(100)), 250)
        assert about["exact"]["accuracy_by_seed"][seed] == approx.accuracy(network, validation)
        row = about["written"][0]
        candidate = copy.deepcopy(network).assign(Assignment.load(row["file"]), library)
        accuracy = approx.accuracy(approx.tune(candidate, torch.cat(batches)), validation)
        assert row["accuracy_by_seed"][seed] == accuracy
    assert json.loads((out / "measured.json").read_text())["written"] == about["written"]
    assert (out / "front.png").read_bytes().startswith(b"\x89PNG")
    svg = (out / "front.svg").read_text()
    assert "sign logic and wider weights charged (% of exact circuits)" in svg and "100 validation images" in svg


def test_an_interrupted_measurement_goes_on(
    command: Command,
    interrupted: Callable[..., None],
    files: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = (*files, *UNTUNED, "--measure", 2, "--out", tmp_path / "front")
    whole = command(*files, *UNTUNED, "--measure", 2, "--out", tmp_path / "whole")
    interrupted("picojoule.commands.measuring.approx.accuracy", 3, *measure)
    assert {p.name for p in (tmp_path / "front").iterdir()} == {".work"}
    calls, real = [], approx.accuracy
    monkeypatch.setattr(approx, "accuracy", lambda *given: calls.append(given) or real(*given))
    again = command(*measure)
    different = {p.name for p in (tmp_path / "whole" / ".work").glob("seed0-*")}
    assert len(different) > 2 and len(calls) == len(different) - 2
    assert [row["accuracy"] for row in again["written"]] == [row["accuracy"] for row in whole["written"]]
    assert again["uniform"] == whole["uniform"]


def test_a_later_front_replaces_an_earlier_one(command: Command, files: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "front"
    command(*files, *UNTUNED, "--points", 5, "--measure", 1, "--out", out)
    assert (out / "measured.json").is_file() and not (out / "assignment1.json").exists()
    command(*files, "--points", 3, "--out", out)
    assert not (out / "measured.json").exists()
    assert sorted(p.name for p in out.glob("assignment*")) == [f"assignment{n}.json" for n in range(3)]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(notes.txt\)"):
        command(*files, "--out", out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pin", "conv1"), "--pin conv1: expected LAYER=CIRCUIT"),
        (("--pin", "conv1=mul8u_exact"), "names layer 'conv1', which does not exist"),
        (("--pin", "linear=mul8u_1JFF"), r"not among the .* \(exact: mul8u_exact\)"),
        (("--energy", "0.0001"), "no choice keeps energy <= 0.0001; the least possible is"),
        (("--energy", "-1"), "energy must be a finite number >= 0"),
        (("--traces", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--tolerance", "{junk}"), "expected a tolerance file"),
        (("--traces", "{weights}"), "damaged, or no traces"),
        (("--set", "select.max_loss=1"), "--set select.max_loss=1: this command does not use it"),
        (("--set", "retrain.epochs=1"), "--set retrain.epochs=1: this command does not use it"),
        (("--set", "select.circuits_at_most=0"), "circuits_at_most: expected greater than or equal to 1"),
        (("--method", "genetic"), "select.method: expected 'knapsack'"),
    ],
)
def test_mistakes_leave_nothing(
    command: Command, files: tuple[object, ...], tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    (tmp_path / "junk.json").write_text("{}")
    value = options[1].replace("{junk}", str(tmp_path / "junk.json")).replace("{weights}", str(files[3]))
    with pytest.raises((UserError, ValueError, FileNotFoundError), match=message):
        command(*files, options[0], value, "--out", tmp_path / "front")
    assert not (tmp_path / "front").exists()


def test_files_of_another_network(command: Command, files: tuple[object, ...], tmp_path: Path) -> None:
    other = {"version": 1, "method": "agn", "parameters": {}, "layers": {"conv1": {"relative": [1], "absolute": [1]}}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"other.json is of another network: layers \['block1.0', .*in one only"):
        command(*files, "--tolerance", tmp_path / "other.json", "--out", tmp_path / "front")


@pytest.mark.parametrize("kind", ["--traces", "--sensitivity", "--tolerance"])
def test_files_of_the_network_before_it_was_pruned(
    command: Command, files: tuple[object, ...], demo_weights: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "pruned"
    about = command("prune", "demo-cnn", "--weights", demo_weights, "--criterion", "magnitude", "--out", out)
    traces, sensitivity = (Path(str(files[files.index(name) + 1])) for name in ("--traces", "--sensitivity"))
    known = {"--traces": traces, "--sensitivity": sensitivity, "--tolerance": traces.with_suffix(".json")}
    source = ("demo-cnn", "--weights", about["weights"], "--plan", about["plan"])
    with pytest.raises(UserError, match=r"is of another network: layer '.*' has \d+ channels there and \d+ here"):
        command("select", *source, *FEW, kind, known[kind], "--out", tmp_path / "front")
    assert not (tmp_path / "front").exists()


def test_traces_of_other_weights(
    command: Command, files: tuple[object, ...], demo_weights: Path, tmp_path: Path
) -> None:
    weights = load_file(demo_weights)
    save_file({**weights, "head.0.weight": 1.01 * weights["head.0.weight"]}, tmp_path / "other.safetensors")
    given = [tmp_path / "other.safetensors" if value == demo_weights else value for value in files]
    with pytest.raises(UserError, match=r"t.safetensors is of another network: layer 'head.0' has other weights"):
        command(*given, "--out", tmp_path / "front")


def _front(*points: tuple[float, float]) -> Front:
    return Front("test", tuple(FrontPoint(energy, degradation, Assignment()) for energy, degradation in points))


def test_which_points_are_measured() -> None:
    front = _front((0.1, 10.0), (0.2, 0.1), (0.3, 0.02), (0.4, 0.01), (0.5, 0.001), (0.9, 0.0))
    band = (1e-3, 0.1)
    assert [p.degradation for p in worth_measuring(front, 3, band)] == [0.1, 0.01, 0.001]
    assert [p.degradation for p in worth_measuring(front, 1, band)] == [0.1]
    assert len(worth_measuring(front, 99, band)) == 4
    assert [p.degradation for p in worth_measuring(_front((0.1, 9.0), (0.9, 0.0)), 3, band)] == [9.0]
    assert [p.degradation for p in worth_measuring(_front((0.9, 0.0)), 3, band)] == [0.0]
    assert [p.energy for p in spread(list(front), 2)] == [0.1, 0.9]
    assert [p.energy for p in spread(list(front), 1)] == [0.1]
    assert Accuracy((0.5,)).std is None and Accuracy((0.5, 0.7)).std == pytest.approx(0.02**0.5)
