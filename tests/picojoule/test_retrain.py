"""[retrain]: keys become a recipe, long epochs are saved on the way, the verb keeps the best weights; augmentation."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import picojoule
import picojoule.pipeline.lab as lab_module
from approx import Assignment, Choice, Recipe, Trainer, accuracy, capture, quantise
from multipliers import default_library
from picojoule.commands.retrained import train_assigned
from picojoule.commands.workplace import Workplace
from picojoule.config import DataConfig, ModelConfig, RetrainConfig, RunConfig, TrainConfig
from picojoule.data import Loader, cut_out_after, load_data
from picojoule.models import make_model
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import load_network
from picojoule.pipeline.retrain import recipe_of
from picojoule.run_folder import RunFolder
from picojoule.stages import StageContext
from picojoule.training_state import TrainingState


def test_every_key_goes_into_the_recipe() -> None:
    assert recipe_of(RetrainConfig(), 0) == Recipe(optimiser="channel-adam", learning_rate=3e-4)
    assert recipe_of(RetrainConfig(optimiser="sgd"), 0) == Recipe()
    config = RetrainConfig(
        epochs=3,
        learning_rate=0.2,
        momentum=0.5,
        weight_decay=0.1,
        warmup_steps=7,
        temperature=2.0,
        distillation=1.0,
        gradient_clip=1.5,
        ema=0.99,
        mixup=True,
        validation="divergence",
        validate_every=11,
        patience=4,
        optimiser="sgd",
    )
    assert recipe_of(config, 5) == Recipe(3, 0.2, 0.5, 0.1, 1.5, 2.0, 1.0, 7, 0.99, True, 4, 11, 5, "sgd")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mixup": True}, r"mixup needs distillation = 1 .*got 0.5"),
        ({"patience": 2}, 'patience and validate_every need validation = "accuracy" or "divergence"'),
        ({"validate_every": 2}, "need validation"),
        ({"ema": 1.0}, "less than 1"),
        ({"validation": "loss"}, "'accuracy' or 'divergence'"),
    ],
)
def test_keys_that_do_not_go_together(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RetrainConfig(**keys)  # type: ignore[arg-type]


class Killed(Exception):
    pass


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    config = RunConfig(
        model=ModelConfig(name="demo-cnn"), data=DataConfig(name="digits", batch_size=128), train=TrainConfig()
    )
    with RunFolder(tmp_path / "run") as run:
        yield Lab(config, run, load_data(config.data), default_library())


def train(lab: Lab, checkpoints: Path) -> Trainer:
    torch.manual_seed(2)
    validation = Loader(lab.splits.validation, 180)
    network = make_model("demo-cnn")
    recipe = Recipe(epochs=2, learning_rate=0.05, ema=0.9, validate_every=5)
    checkpoints.mkdir(exist_ok=True)
    context, loader = StageContext(lab.run, "retrain", checkpoints, checkpoints), lab.training(cutout=2)
    return lab.finish(context, Trainer(network, recipe, score=lambda m: accuracy(m, validation)), loader)


def test_magnitude_distorts_training_images(lab: Lab) -> None:
    plain, same, distorted = (next(iter(lab.training(magnitude))) for magnitude in (0, 0, 9))
    assert torch.equal(plain[0], same[0]) and torch.equal(plain[1], distorted[1])
    assert not torch.equal(plain[0], distorted[0])


def test_a_long_epoch_is_saved_on_the_way(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(lab, tmp_path / "whole")
    monkeypatch.setattr(lab_module, "CHECKPOINT_SECONDS", 0.0)
    saves, save = list[tuple[int, int]](), TrainingState.save

    def save_and_die(self: TrainingState, step: int, **extra: object) -> None:
        save(self, step)
        trainer = self._parts["trainer"]
        assert isinstance(trainer, Trainer)
        saves.append((trainer.epoch, trainer.step))
        if saves[-1] in {(0, 3), (0, 9), (1, 0), (1, 4)} and saves[-1] not in saves[:-1]:
            raise Killed

    monkeypatch.setattr(TrainingState, "save", save_and_die)
    for _ in range(4):
        with pytest.raises(Killed):
            train(lab, tmp_path / "killed")
    again = train(lab, tmp_path / "killed")
    steps = len(lab.training())
    expected = [(epoch, step) for epoch in (0, 1) for step in range(1, steps + 1)]
    assert sorted(saves) == sorted([*expected, (1, 0), (2, 0)])  # nothing was done twice
    assert again.losses == whole.losses and again.best is not None and whole.best is not None
    assert again.best.scores == whole.best.scores
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], tensor), name


def test_the_verb_keeps_the_best_weights() -> None:
    torch.manual_seed(1)
    images = torch.randn(64, 1, 4, 4)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    batches = [(images, (images.mean((1, 2, 3)) > 0).long())]
    network, marks = quantise(model, [images]), list[torch.Tensor]()

    def score(module: nn.Module) -> float:
        marks.append(next(module.parameters()).detach().clone())
        return -abs(len(marks) - 2.0)

    assert picojoule.retrain(network, batches, Recipe(epochs=3, learning_rate=0.1), score=score) is network
    assert len(marks) == 4 and torch.equal(next(network.parameters()), marks[1])


def test_cutout_is_one_square_of_black_and_seeded() -> None:
    pixels = torch.full((400, 2, 9, 7), 5, dtype=torch.uint8)
    augment = cut_out_after(lambda x, random: x * 2, 4)
    cut = augment(pixels, torch.Generator().manual_seed(3))
    assert torch.equal(cut, augment(pixels, torch.Generator().manual_seed(3)))
    assert not torch.equal(cut, augment(pixels, torch.Generator().manual_seed(4)))
    assert cut.dtype == torch.uint8 and set(cut.unique().tolist()) == {0, 10}
    black = cut == 0
    assert torch.equal(black[:, 0], black[:, 1])
    rows, columns = black[:, 0].any(2), black[:, 0].any(1)
    assert torch.equal(black[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    assert set(rows.sum(1).tolist()) == set(columns.sum(1).tolist()) == {2, 3, 4}  # cut off at the border
    assert (rows.long().diff(dim=1).abs().sum(1) <= 2).all() and (columns.long().diff(dim=1).abs().sum(1) <= 2).all()
    assert black.any(0).all(), "every pixel may be hidden"
    assert torch.equal(pixels, torch.full_like(pixels, 5))
    assert set(cut_out_after(None, 4)(pixels, torch.Generator().manual_seed(3)).unique().tolist()) == {0, 5}


def test_the_exact_network_keeps_its_ranges_where_circuits_have_narrower_ones(tmp_path: Path) -> None:
    config = RunConfig.model_validate(
        {
            "name": "retrain",
            "model": {"name": "demo-cnn"},
            "data": {"name": "digits", "calibration_images": 128},
            "train": {"epochs": 3},
            "quantise": {"resolution": 2},
            "retrain": {"epochs": 1},
        }
    )
    place = Workplace.open(config)
    values = train_assigned(place, Assignment({"*": Choice("mul8u_trunc4")}), tmp_path / "out", test=True)
    with place.lab(tmp_path / "out") as lab:
        model = load_network(lab, place.prepared(lab))
    measured = {}
    for resolution in (2, 8):
        network = capture(model, torch.zeros(1, *place.splits.train.shape)).calibrate(place.batches(128), resolution)
        measured[resolution] = accuracy(network, Loader(place.splits.test, 180))
    assert measured[2] < measured[8] == values["test_accuracy_exact"]
