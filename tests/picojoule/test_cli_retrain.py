"""`picojoule retrain` on the digits: resumable, compilable, and the test set only when asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import picojoule
from approx import Assignment, Choice, accuracy
from deploy.program_file import load_program
from picojoule.config import DataConfig
from picojoule.data import Loader, load_data
from picojoule.errors import UserError
from picojoule.models import make_model
from picojoule.pipeline.measure import executor
from picojoule.sources import open_float

Command = Callable[..., dict[str, Any]]
QUICK = ("--images", 128, "--set", "data.batch_size=256", "--learning-rate", 0.01)


@pytest.fixture
def arguments(demo_weights: Path, tmp_path: Path) -> tuple[object, ...]:
    file = tmp_path / "a.json"
    Assignment({"*": Choice("mul8u_trunc6"), "stem.0": Choice("mul8u_exact")}).save(file)
    return ("retrain", "demo-cnn", "--weights", demo_weights, "--assignment", file, *QUICK)


def test_the_folder_holds_what_was_trained(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = command(*arguments, "--out", out, "--validation", "accuracy")
    validation = Loader(load_data(DataConfig(name="digits")).validation, 250)
    assert accuracy(executor(load_program(about["program"])), validation) == about["accuracy_after"]
    assert about["accuracy_after"] >= about["accuracy_before"] and len(about["losses"]) == 1
    assert json.loads((out / "results.json").read_text()) == about
    assert "test_accuracy_after" not in about and not (out / "measure").exists()
    saved = command("energy", out)["saved_multiplication"]
    assert 0.1 < saved < 1
    built = command("compile", out, "--target", "cortex-m4", "--out", tmp_path / "build")
    assert built["passed"] and (tmp_path / "build" / "net.c").is_file()


def test_circuits_by_output_channel_train_without_a_program(
    command: Command, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    file = tmp_path / "a.json"  # of `arguments`
    several = {"multipliers": {"mul8u_trunc4": "0-5", "mul8u_trunc2": "6-9"}}
    file.write_text(json.dumps({"version": 1, "layers": {"linear": several}}))
    about = command(*arguments, "--test", "--out", tmp_path / "out")
    assert about["program"] is None and "by output channel" in about["no_program_because"]
    assert about["test_accuracy_after"] > 0.5 and Path(about["checkpoint"]).is_file()


def test_an_interrupted_training_goes_on_to_the_same_end(
    command: Command, interrupted: Callable[..., None], arguments: tuple[object, ...], tmp_path: Path
) -> None:
    recipe = ("--epochs", 2, "--mixup", "--distillation", 1, "--ema", 0.9, "--gradient", 4)
    whole = command(*arguments, *recipe, "--out", tmp_path / "whole")
    interrupted("approx.training.trainer.Trainer._update", 6, *arguments, *recipe, "--out", tmp_path / "halves")
    assert not (tmp_path / "halves" / "retrain").exists()
    halves = command(*arguments, *recipe, "--out", tmp_path / "halves")
    assert halves["losses"] == whole["losses"]
    first, second = (load_file(about["checkpoint"]) for about in (whole, halves))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_gradient_optimiser_and_magnitude_are_those_asked_for(
    command: Command, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    ways = [("--gradient", g) for g in ("line", "straight", 4)]
    ways += [("--set", s) for s in ('retrain.optimiser="sgd"', "retrain.magnitude=9")]
    sums = set()
    for number, way in enumerate([(), *ways]):
        about = command(*arguments, *way, "--out", tmp_path / str(number))
        sums.add(sum(float(t.double().sum()) for t in load_file(about["checkpoint"]).values()))
    assert len(sums) == len(ways)  # "line" is the default, all others differ


def test_the_test_set_is_read_once(
    command: Command, arguments: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = Loader.__init__

    def spy(self: Loader, images: Any, *args: Any, **keywords: Any) -> None:
        seen.append(len(images))
        real(self, images, *args, **keywords)

    monkeypatch.setattr(Loader, "__init__", spy)
    out = tmp_path / "out"
    command(*arguments, "--out", out)
    assert 360 not in seen
    first = command(*arguments, "--out", out, "--test")
    assert first["test_images"] == 360 and seen.count(360) == 1
    assert command(*arguments, "--out", out, "--test") == first and seen.count(360) == 1


def test_a_pruned_network(command: Command, demo_weights: Path, arguments: tuple[object, ...], tmp_path: Path) -> None:
    model = open_float("demo-cnn", str(demo_weights), None)
    pruned = picojoule.prune(model, torch.zeros(1, 1, 8, 8), macs=0.6, criterion="magnitude")
    pruned.plan.save(tmp_path / "plan.json")
    save_file(pruned.model.state_dict(), tmp_path / "pruned.safetensors")
    options = ("--weights", tmp_path / "pruned.safetensors", "--plan", tmp_path / "plan.json")
    about = command(*arguments, *options, "--out", tmp_path / "out")
    channels = load_program(about["program"]).tensors
    assert channels
    assert sum(t.numel() for t in load_file(about["checkpoint"]).values()) < sum(
        t.numel() for t in make_model("demo-cnn").state_dict().values()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mixup",), "mixup needs distillation = 1"),
        (("--gradient", "126"), 'retrain.gradient: expected "line", "straight" or a half window, 0..125, got 126'),
        (("--gradient", "curved"), "or a half window, 0..125, got 'curved'"),
        (("--validation", "luck"), "retrain.validation: expected 'accuracy' or 'divergence'"),
        (("--patience", "2"), "patience and validate_every need validation"),
        (("--assignment", "nowhere.json"), "nowhere.json"),
        (("--library", "nowhere"), "library 'nowhere'"),
    ],
)
def test_mistakes_leave_nothing(
    command: Command, arguments: tuple[object, ...], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises((UserError, ValueError, FileNotFoundError), match=message):
        command(*arguments, *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_assignment_of_another_network(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    Assignment({"conv1": Choice("mul8u_exact")}).save(tmp_path / "a.json")
    with pytest.raises(ValueError, match="names layer 'conv1', which does not exist"):
        command(*arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_a_run_is_left_alone(command: Command, arguments: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('name = "demo"\n')
    (tmp_path / "run" / "log.jsonl").write_text("")
    with pytest.raises(UserError, match="holds another run"):
        command(*arguments, "--out", tmp_path / "run")
