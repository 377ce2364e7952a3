"""Checkpoints: a training killed after any step or epoch goes on bit for bit; foreign and damaged files are refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from approx import Assignment, Choice, Divergence, Recipe, Trainer, quantise
from multipliers import default_library
from picojoule.data import Images, Loader, Normalisation, cut_out_after, flip_and_crop
from picojoule.training_state import TrainingState


def setup(kind):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizers = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, nesterov=True),
        "adamw": lambda: torch.optim.AdamW(
            [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[3].parameters()}], 0.1
        ),
    }
    return model, optimizers[kind](), torch.Generator().manual_seed(5)


def epoch(model, optimizer, generator):
    x = torch.randn(16, 3, generator=generator)
    loss = model(x).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_resumed_is_bit_identical(tmp_path, kind):
    model, optimizer, generator = setup(kind)
    for _ in range(6):
        epoch(model, optimizer, generator)
    expected = {name: t.clone() for name, t in model.state_dict().items()}

    model, optimizer, generator = setup(kind)
    state = TrainingState(tmp_path, {"model": model, "optimizer": optimizer}, {"noise": generator})
    assert state.load() == 0
    for done in range(1, 4):
        epoch(model, optimizer, generator)
        state.save(done, best=0.25, names=["a"])

    model, optimizer, generator = setup(kind)
    torch.rand(99)
    state = TrainingState(tmp_path, {"model": model, "optimizer": optimizer}, {"noise": generator})
    assert state.load() == 3
    assert state.extra == {"best": 0.25, "names": ["a"]}
    for _ in range(3):
        epoch(model, optimizer, generator)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
        assert torch.isfinite(tensor).all()
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


class Killed(Exception):
    pass


def images(count: int, seed: int) -> Images:
    pixels = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    labels = (pixels[:, 0, :3].float().mean((1, 2)) > pixels[:, 0, 3:].float().mean((1, 2))).long()
    return Images(pixels, labels, Normalisation(255.0, (0.5,), (0.3,)), ("down", "up"))


def float_network() -> nn.Module:
    torch.manual_seed(3)
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*body, nn.Dropout(0.2), nn.Linear(64, 2))


def approximate_network() -> nn.Module:
    network = quantise(float_network().eval(), [images(32, 1)[:][0]])
    return network.assign(Assignment({"*": Choice("mul8u_trunc4")}), default_library())


STEPS = 4  # per epoch
RICH = Recipe(epochs=2, learning_rate=0.05, ema=0.8, distillation=1.0, mixup=True, warmup_steps=3, validate_every=3)
STOPPED = Recipe(epochs=6, learning_rate=0.05, patience=3, validate_every=3)  # its teacher is its start: never better
TRAININGS = {  # network, recipe, is there a score, steps it takes
    "plain": (float_network, Recipe(epochs=3, learning_rate=0.05), False, 12),
    "everything on": (float_network, RICH, True, 8),
    "bit-exact": (approximate_network, RICH, True, 8),
    "adam": (approximate_network, replace(RICH, optimiser="channel-adam", learning_rate=0.01), True, 8),
    "stopped early": (float_network, STOPPED, True, 6),
}


def training(name: str, folder: Path) -> tuple[Trainer, Loader, TrainingState]:
    make, recipe, scored, _ = TRAININGS[name]
    module, teacher, validation = make(), float_network().eval(), Loader(images(32, 2), 16)
    divergence = Divergence(teacher, validation)
    trainer = Trainer(module, recipe, teacher, (lambda m: -divergence(m)) if scored else None)
    augment = cut_out_after(lambda pixels, random: flip_and_crop(pixels, random, padding=1), 2)
    loader = Loader(images(16 * STEPS, 1), 16, shuffle=True, augment=augment, seed=4, drop_last=True)
    torch.manual_seed(7)
    return trainer, loader, TrainingState(folder, {"trainer": trainer})


def finish(name: str, folder: Path, save_at: Callable[[int, bool], bool], kill: bool = False) -> Trainer:
    """Trains from the folder's checkpoint on, saves where wanted, and is killed there."""
    trainer, loader, state = training(name, folder)
    state.load()
    loader.set_epoch(trainer.epoch)

    def save(between_epochs: bool) -> None:
        if save_at(trainer.updates, between_epochs):
            state.save(trainer.epoch)
            if kill:
                raise Killed

    for _ in trainer.run(loader, lambda done, total, loss: save(False)):
        save(True)
    return trainer


@pytest.mark.parametrize("name", TRAININGS)
def test_killed_after_any_step_and_after_any_epoch_it_ends_the_same(name: str, tmp_path: Path) -> None:
    whole = finish(name, tmp_path / "whole", lambda updates, between: False)
    assert whole.updates == TRAININGS[name][3] and len(whole.losses) == -(-whole.updates // STEPS)
    kills = [(updates, False) for updates in range(1, whole.updates + 1)]
    kills += [(updates, True) for updates in {*range(STEPS, whole.updates, STEPS), whole.updates}]
    for kill in kills:
        folder = tmp_path / f"{kill}"
        folder.mkdir()
        with pytest.raises(Killed):
            finish(name, folder, lambda *now: now == kill, kill=True)  # noqa: B023
        torch.rand(17)
        same(finish(name, folder, lambda *now: False), whole)


def same(one: Trainer, other: Trainer) -> None:
    assert one.losses == other.losses and one.updates == other.updates and not one.module.training
    for name, tensor in one.module.state_dict().items():
        assert torch.equal(tensor, other.module.state_dict()[name]), name
    assert (one.best and one.best.scores) == (other.best and other.best.scores)


def test_killed_again_and_again(tmp_path: Path) -> None:
    whole = finish("everything on", tmp_path, lambda *now: False)
    for updates in (2, 3, 4, 7):
        with pytest.raises(Killed):
            finish("everything on", tmp_path, lambda *now: now == (updates, False), kill=True)  # noqa: B023
    same(finish("everything on", tmp_path, lambda *now: False), whole)


def test_a_training_of_another_recipe_or_network_is_refused_by_name(tmp_path: Path) -> None:
    trainer = Trainer(float_network(), Recipe(ema=0.5))
    TrainingState(tmp_path, {"trainer": trainer}).save(1)
    other = Trainer(float_network(), Recipe(ema=0.5, learning_rate=0.2))
    with pytest.raises(ValueError, match=r"state\.safetensors: cannot be resumed .*learning_rate was 0.001, is 0.2"):
        TrainingState(tmp_path, {"trainer": other}).load()
    with pytest.raises(ValueError, match=r"another network: 'graph_module.* was absent"):
        TrainingState(tmp_path, {"trainer": Trainer(approximate_network(), Recipe(ema=0.5))}).load()
    with pytest.raises(ValueError, match=r"expected the state of \['model'\], got that of \['trainer'\]"):
        TrainingState(tmp_path, {"model": float_network()}).load()


def test_damaged_or_foreign_state(tmp_path):
    model, optimizer, _ = setup("sgd")
    state = TrainingState(tmp_path, {"model": model, "optimizer": optimizer})
    state.save(1)
    with pytest.raises(ValueError, match="cannot be resumed"):
        TrainingState(tmp_path, {"model": nn.Linear(2, 2), "optimizer": optimizer}).load()
    file = tmp_path / "state.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=r"state\.safetensors: cannot be resumed .* delete it"):
        state.load()
    file.write_bytes(whole)
    save_file(load_file(file), file, {"training": json.dumps({"format": 1, "step": 1, "extra": {}, "parts": {}})})
    with pytest.raises(ValueError, match="expected format 2, got 1, of another version"):
        state.load()


def test_tied_weights_and_no_optimizer(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    TrainingState(tmp_path, {"model": model}).save(2)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
    assert TrainingState(tmp_path, {"model": model}).load() == 2
    assert torch.equal(model[1].weight, before)


def test_odd_optimizer_state_is_refused(tmp_path):
    _, optimizer, _ = setup("sgd")
    optimizer.param_groups[0]["odd"] = object()
    with pytest.raises(ValueError, match="state of part.optimizer.*odd.*object"):
        TrainingState(tmp_path, {"optimizer": optimizer}).save(1)
    assert list(tmp_path.iterdir()) == []
