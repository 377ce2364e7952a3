"""Proof that the split holds through a whole run: every pixel carries a mark of its part, and every image that reaches
a network is looked at.

Training, calibration, tracing, sensitivity, pruning criteria and correction see training images only; validation images
reach a network only where an accuracy or a divergence is measured to choose by; test images come after all choices, and
every network that is reported reads them once.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import picojoule.pipeline.lab as lab_module
from approx import Divergence, accuracy
from deploy.program import Program
from picojoule.config import DataConfig, RunConfig, load_config
from picojoule.data import DataSplits, Images, Loader, Normalisation, flip_and_crop, registry
from picojoule.data.digits import load_digits
from picojoule.pipeline import run_pipeline
from picojoule.stages import Stage, StageResult

PARTS = ("train", "validation", "test")
SHAPE, FULL = (1, 8, 8), 51.0  # pixels are 3 * (0..16) + number of the part
SCORERS = {accuracy.__code__, Divergence.__init__.__code__, Divergence.__call__.__code__}
CHOOSING = {"prepare", "prune", "quantise", "tolerate", "select", "retrain"}
CONFIG = """
name = "marked"
threads = 1
[model]
name = "demo-cnn"
[data]
name = "marked-digits"
batch_size = 64
calibration_images = 96
test_images = 120
[train]
epochs = 1
[prune]
macs = 0.7
criterion = "{criterion}"
min_keep = 6
fine_tune_epochs = 1
images = 96
[quantise]
fine_tune_epochs = 1
[tolerance]
method = "{tolerance}"
epochs = 1
images = 96
[select]
circuits = ["mul8u_exact", "mul8u_trunc*"]
candidates = 2
max_loss = 30.0
patches = 64
[retrain]
epochs = 2
ema = 0.9
validation = "divergence"
validate_every = 9
patience = 20
cutout = 2
[deploy]
targets = ["onnx"]
golden_images = 8
"""


def mark(images: Images, part: int) -> Images:
    return replace(images, pixels=3 * images.pixels + part, normalisation=Normalisation(FULL, (0.0,), (1.0,)))


def marked_digits(config: DataConfig, root: Path) -> DataSplits:
    splits = load_digits(config, root)
    parts = {name: mark(getattr(splits, name), number) for number, name in enumerate(PARTS)}
    return DataSplits(**parts, augment=lambda pixels, random: flip_and_crop(pixels, random, padding=1))


def parts_in(images: Tensor) -> set[str]:
    """Parts that a batch's images come from; black (padding, cutout) is of no part, other tensors are of none."""
    pixels = images.double().reshape(len(images), -1) * FULL
    whole = pixels.round()
    of_image = (pixels - whole).abs().amax(1) < 1e-3
    lit = whole > 0
    found = set()
    for number, name in enumerate(PARTS):
        same = ((whole % 3 == number) | ~lit).all(1) & lit.any(1)
        if bool((of_image & same).any()):
            found.add(name)
    return found


@dataclass(frozen=True)
class Seen:
    stage: str
    part: str
    what: str  # "scored", "integers", "pass" (a loader was iterated), or "used": anything else a network did with it


class Watch:
    def __init__(self) -> None:
        self.stage, self.seen, self.order = "", list[Seen](), list[str]()

    def note(self, images: Tensor, what: str) -> None:
        self.seen += [Seen(self.stage, part, what) for part in sorted(parts_in(images))]

    def before_forward(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            if type(x) is Tensor and tuple(x.shape[1:]) == SHAPE and x.is_floating_point():
                self.note(x.detach(), "scored" if is_scored() else "used")


def is_scored() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code in SCORERS:
            return True
    return False


class Stopped(Exception):
    pass


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch, stop_before: str = "") -> Iterator[Watch]:
    watch, run_stage, iterate, quantise_input = (
        Watch(),
        lab_module.run_stage,
        Loader.__iter__,
        Program.quantise_input,
    )

    def watched_stage(run: Any, stage: Stage) -> StageResult:
        if stage.name == stop_before:
            raise Stopped
        watch.stage = stage.name
        watch.order.append(stage.name)
        return run_stage(run, stage)

    def watched_iteration(self: Loader) -> Iterator[tuple[Tensor, Tensor]]:
        watch.note(self.images.pixels / FULL, "pass")
        return iterate(self)

    def watched_input(self: Program, images: Any) -> Any:
        watch.note(torch.as_tensor(images), "integers")
        return quantise_input(self, images)

    monkeypatch.setattr(lab_module, "run_stage", watched_stage)
    monkeypatch.setattr(Loader, "__iter__", watched_iteration)
    monkeypatch.setattr(Program, "quantise_input", watched_input)
    handle = torch.nn.modules.module.register_module_forward_pre_hook(watch.before_forward)
    try:
        yield watch
    finally:
        handle.remove()


def configure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, data: Callable[..., DataSplits], criterion: str, tolerance: str
) -> RunConfig:
    monkeypatch.setitem(registry._FACTORIES, "marked-digits", data)
    path = folder / "marked.toml"
    path.write_text(CONFIG.format(criterion=criterion, tolerance=tolerance))
    return load_config(path)


def violations(watch: Watch) -> list[Seen]:
    """What must not have happened."""
    last_choice = max([index for index, seen in enumerate(watch.seen) if seen.stage in CHOOSING], default=0)
    wrong = [s for s in watch.seen if s.part == "validation" and s.what in ("used", "integers")]
    wrong += [s for s in watch.seen if s.part == "test" and (s.what == "used" or s.stage not in ("deploy", "measure"))]
    return wrong + [s for s in watch.seen[:last_choice] if s.part == "test"]


def test_the_split_holds_through_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(tmp_path, monkeypatch, marked_digits, "magnitude", "fisher")
    with watching(monkeypatch) as watch:
        results = run_pipeline(config, tmp_path / "out")
    assert violations(watch) == []
    seen = set(watch.seen)
    assert {s.stage for s in seen if (s.part, s.what) == ("train", "used")} >= CHOOSING
    scored = {s.stage for s in seen if (s.part, s.what) == ("validation", "scored")}
    assert scored == {"prune", "quantise", "select", "retrain"}  # pruning only reports it
    assert watch.order.index("measure") > max(map(watch.order.index, ("select", "retrain", "deploy")))
    passes = [s for s in watch.seen if s.part == "test" and s.what == "pass"]
    reported = ["accuracy_float", "accuracy_pruned", "accuracy_int8", "accuracy_approximate"]
    assert all(0 <= results[name] <= 1 for name in reported)
    points = len(list((tmp_path / "out" / "select").glob("point*.json")))
    assert passes == [Seen("measure", "test", "pass")] * (len(reported) + points)  # each network reads them once


def test_the_split_holds_for_criteria_and_tolerances_that_use_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tmp_path, monkeypatch, marked_digits, "taylor", "agn")
    with watching(monkeypatch, "select") as watch, pytest.raises(Stopped):
        run_pipeline(config, tmp_path / "out")
    assert violations(watch) == [] and "test" not in {s.part for s in watch.seen}
    assert {"prune", "tolerate"} <= {s.stage for s in watch.seen if (s.part, s.what) == ("train", "used")}


def leaky_digits(config: DataConfig, root: Path) -> DataSplits:
    """Some validation images are trained on, and choices are made on test images as well."""
    splits = marked_digits(config, root)
    return replace(
        splits, train=joined(splits.validation, splits.train), validation=joined(splits.test, splits.validation)
    )


def joined(one: Images, other: Images) -> Images:
    pixels, labels = (torch.cat([getattr(part, key)[:150] for part in (one, other)]) for key in ("pixels", "labels"))
    return replace(one, pixels=pixels, labels=labels)


def test_the_proof_finds_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(tmp_path, monkeypatch, leaky_digits, "magnitude", "fisher")
    with watching(monkeypatch, "deploy") as watch, pytest.raises(Stopped):
        run_pipeline(config, tmp_path / "out")
    found = {(s.stage, s.part) for s in violations(watch)}
    assert found >= {(stage, "validation") for stage in CHOOSING}
    assert found >= {(stage, "test") for stage in ("quantise", "select", "retrain")}


def test_marks_survive_augmentation_and_are_told_apart() -> None:
    splits = marked_digits(DataConfig(name="digits"), Path())
    for name in PARTS:
        pixels = flip_and_crop(getattr(splits, name).pixels[:64], torch.Generator().manual_seed(1), padding=2)
        assert parts_in(splits.train.normalisation(pixels)) == {name}
    both = torch.cat([splits.train[:4][0], splits.test[:4][0]])
    assert parts_in(both) == {"train", "test"} and parts_in(torch.randn(9, *SHAPE)) == set()
    assert parts_in(torch.zeros(1, *SHAPE)) == set()
