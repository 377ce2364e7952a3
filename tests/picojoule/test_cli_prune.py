"""`picojoule prune` on the digits: what it writes rebuilds the network; an interrupted one goes on to the same end."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

import pruning
from approx import accuracy
from picojoule.config import DataConfig
from picojoule.data import Loader, load_data
from picojoule.errors import UserError
from picojoule.pruning_tables import print_explanation
from picojoule.sources import open_float

Command = Callable[..., dict[str, Any]]


@pytest.fixture
def arguments(demo_weights: Path) -> tuple[object, ...]:
    return ("prune", "demo-cnn", "--weights", demo_weights, "--criterion", "magnitude")


def test_what_is_written_is_the_pruned_network(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = command(*arguments, "--macs", 0.6, "--epochs", 1, "--out", out)
    assert about["macs_after"] <= 0.6 * about["macs_before"] == pytest.approx(0.6 * 1_004_864)
    assert [step["what"] for step in about["steps"]] == ["before", "cut", "trained"] and len(about["losses"]) == 1
    network = open_float("demo-cnn", about["weights"], Path(about["plan"]))
    splits = load_data(DataConfig(name="digits"))
    assert accuracy(network, Loader(splits.validation, 250)) == about["steps"][-1]["accuracy_validation"]
    assert pruning.count_macs(network, torch.zeros(1, *splits.train.shape)) == about["macs_after"]
    assert {name: before for name, (_, before) in about["kept"].items()}["stem.0"] == 16
    assert json.loads((out / "results.json").read_text()) == about and "test_images" not in about
    assert (out / "kept.svg").read_bytes().startswith(b"<?xml")
    options = ("--weights", about["weights"], "--plan", about["plan"], "--images", 64, "--patches", 8)
    traced = command("trace", "demo-cnn", *options, "--out", tmp_path / "t.safetensors")
    assert sum(row["macs"] for row in traced["layers"]) == about["macs_after"]


def test_the_test_set_is_read_when_asked_for(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    about = command(*arguments, "--out", tmp_path / "out", "--test")
    splits = load_data(DataConfig(name="digits"))
    network = open_float("demo-cnn", about["weights"], Path(about["plan"]))
    assert about["test_images"] == 360 and about["test_accuracy_after"] == accuracy(network, Loader(splits.test, 250))
    assert about["test_accuracy_before"] > about["test_accuracy_after"]


def test_batch_norms_are_averaged_anew(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    left, about = (
        command(*arguments, *more, "--macs", 0.3, "--out", tmp_path / str(len(more)))
        for more in ((), ("--reestimate", 10**6))
    )
    assert [step["what"] for step in about["steps"]] == ["before", "cut", "batch norms re-estimated"]
    _, cut, averaged = (step["accuracy_validation"] for step in about["steps"])
    assert about["steps"][:2] == left["steps"] and averaged > cut + 0.15
    before, after = (load_file(result["weights"]) for result in (left, about))
    assert {key for key in after if not torch.equal(before[key], after[key])} == {
        key for key in after if key.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    network = open_float("demo-cnn", about["weights"], Path(about["plan"]))
    validation = Loader(load_data(DataConfig(name="digits")).validation, 250)
    assert accuracy(network, validation) == about["steps"][2]["accuracy_validation"]


@pytest.mark.parametrize("call", [2, 4, 6])
def test_an_interrupted_pruning_goes_on_to_the_same_end(
    command: Command,
    interrupted: Callable[..., None],
    arguments: tuple[object, ...],
    tmp_path: Path,
    call: int,
) -> None:
    several = ("--schedule", "iterative", "--steps", 2, "--epochs", 2, "--set", "data.batch_size=512")
    whole = command(*arguments, *several, "--out", tmp_path / "whole")
    assert [step["what"] for step in whole["steps"]] == ["before", "cut", "trained", "cut", "trained"]
    interrupted("approx.training.trainer.Trainer._update", call, *arguments, *several, "--out", tmp_path / "halves")
    assert not (tmp_path / "halves" / "prune").exists()
    halves = command(*arguments, *several, "--out", tmp_path / "halves")
    assert (halves["losses"], halves["steps"]) == (whole["losses"], whole["steps"])
    first, second = (load_file(about["weights"]) for about in (whole, halves))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_soft_pruning_killed_after_its_last_epoch_goes_on(
    command: Command, interrupted: Callable[..., None], arguments: tuple[object, ...], tmp_path: Path
) -> None:
    soft = ("--schedule", "soft-to-hard", "--step-epochs", 2, "--set", "data.batch_size=512")
    whole = command(*arguments, *soft, "--out", tmp_path / "whole")
    assert [step["what"] for step in whole["steps"]] == ["before", "trained", "cut"]
    interrupted("picojoule.pipeline.prune.accuracy", 2, *arguments, *soft, "--out", tmp_path / "halves")
    halves = command(*arguments, *soft, "--out", tmp_path / "halves")
    assert (halves["losses"], halves["steps"]) == (whole["losses"], whole["steps"])
    first, second = (load_file(about["weights"]) for about in (whole, halves))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(("steps", "named"), [(1, ["before", "cut"]), (2, ["before", "cut", "cut"])])
def test_iterative_pruning_without_training(
    command: Command, arguments: tuple[object, ...], tmp_path: Path, steps: int, named: list[str]
) -> None:
    options = ("--schedule", "iterative", "--steps", steps, "--step-epochs", 2 - steps, "--out", tmp_path)
    assert [step["what"] for step in command(*arguments, *options)["steps"]] == named


@pytest.mark.parametrize("schedule", ["entwined", "soft-to-hard"])
def test_other_schedules(command: Command, arguments: tuple[object, ...], tmp_path: Path, schedule: str) -> None:
    options = ("--schedule", schedule, "--step-epochs", 1 if schedule == "soft-to-hard" else 0, "--parameters", 0.5)
    about = command(*arguments, *options, "--out", tmp_path / "out")
    assert about["params_after"] <= 0.5 * about["params_before"] and about["schedule"] == schedule


def test_explain_needs_no_weights(command: Command) -> None:
    about = command("prune", "demo-cnn", "--explain", "--keep", "head.0")
    groups = {group["name"]: group for group in about["groups"]}
    assert groups["stem.0"]["units"] == 16 and "head.0" not in groups and 0 < about["least_macs"] < 0.1
    reasons = {entry["reason"] for entry in about["frozen"]}
    assert {"network output", "ignored by the user (head.0)"} <= reasons


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--criterion": "magic"}, "criterion: expected one of .*taylor.*, got 'magic'"),
        ({"--selector": "magic"}, "selector: expected one of global, isomorphic, local, priced, got 'magic'"),
        ({"--schedule": "magic"}, "expected 'one-shot', 'iterative', 'entwined' or 'soft-to-hard'"),
        ({"--macs": 0.0001}, "budget of .* cannot be met: the closest is"),
        ({"--macs": 1.5}, "less than or equal to 1, got 1.5"),
        ({"--parameters": 0.5, "--macs": 0.5}, "give one budget"),
        ({"--keep": "*"}, "nothing can be pruned; every channel is frozen: ignored by the user"),
        ({"--keep": "tail"}, "'tail' matches no layer"),
        ({"--weights": None}, "needs its trained weights: --weights FILE, a state_dict"),
        ({"--out": None}, "--out FOLDER is needed"),
    ],
)
def test_mistakes_leave_nothing(
    command: Command, demo_weights: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    out = tmp_path / "new"
    options = {"--weights": demo_weights, "--out": out, **changed}
    given = [item for key, value in options.items() if value is not None for item in (key, value)]
    with pytest.raises((UserError, ValueError), match=message):
        command("prune", "demo-cnn", *given)
    assert not out.exists()


def test_the_folder_of_another_run_is_left_alone(
    command: Command, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('name = "other"\n')
    with pytest.raises(UserError, match="holds another run"):
        command(*arguments, "--out", tmp_path)


def test_a_folder_is_of_one_pruning(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = command(*arguments, "--macs", 0.6, "--out", out)
    assert command(*arguments, "--macs", 0.6, "--out", out) == first
    before = (out / "results.json").read_bytes()
    with pytest.raises(UserError, match=r"other options \(prune.macs was 0.6, is 0.5\); choose another folder"):
        command(*arguments, "--macs", 0.5, "--out", out)
    assert (out / "results.json").read_bytes() == before


def test_what_is_forgotten_after_pruning_is_said(
    command: Command, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    about = command(*arguments, "--out", out)
    with pytest.raises(
        UserError, match=r"holds a pruned network: .* --weights .*weights.safetensors --plan .*plan.json"
    ):
        command("energy", out)
    with pytest.raises(UserError, match=r"holds the weights of a pruned demo-cnn; give --plan .*plan.json"):
        command("trace", "demo-cnn", "--weights", about["weights"], "--out", tmp_path / "t.safetensors")


def test_an_impossible_budget_is_refused_before_a_run_trains(tmp_path: Path) -> None:
    from picojoule.config.loading import parse_config
    from picojoule.pipeline import run_pipeline

    text = '[model]\nname = "demo-cnn"\n[data]\nname = "digits"\n[train]\nepochs = 1\n[prune]\nmacs = 1e-4\n'
    with pytest.raises(ValueError, match="cannot be met"):
        run_pipeline(parse_config(text, "x.toml"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_explain_takes_the_shape_of_the_data(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 10))"
    )
    (tmp_path / "own_mlp.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    about = command("prune", "own_mlp:make", "--explain", "--data", "digits")
    assert [(group["name"], group["units"]) for group in about["groups"]] == [("1", 6)]
    with pytest.raises(UserError, match="its image size is not known; give --input-shape"):
        command("prune", "own_mlp:make", "--explain")
    with pytest.raises(UserError, match="images of 3x8x8 .* do not fit"):
        command("prune", "own_mlp:make", "--explain", "--input-shape", "3,8,8")


def test_layers_that_repeat_share_a_row() -> None:
    model, example = nn.Sequential(*(nn.Linear(6, 6) for _ in range(5))), torch.zeros(2, 6)
    grouping = pruning.find_safe_groups(pruning.trace(model, example))
    found = pruning.explain(grouping, pruning.macs_cost(grouping, pruning.count_macs(model, example)))
    text = io.StringIO()
    print_explanation(found, Console(file=text, width=200))
    assert [line.split()[:4] for line in text.getvalue().splitlines()[1:3]] == [["0", "x", "4", "6"], []]
