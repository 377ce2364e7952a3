"""Trainings of the benchmarks: interrupted ones go on; and float networks that nobody published weights of."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from approx import Trainer
from benchmarks._selection_plan import FromScratch
from benchmarks._store import Store
from picojoule.data import DataSplits, Loader
from picojoule.files import Json
from picojoule.models import make_model
from picojoule.training_state import TrainingState

CHECKPOINT_SECONDS = 60.0
BATCH = 128
Say = Callable[[str], None]
Watch = Callable[[int], None]


def finish(
    trainer: Trainer,
    loader: Loader,
    folder: Path,
    say: Say,
    watch: Watch | None = None,
    every: float = CHECKPOINT_SECONDS,
) -> None:
    """Runs a training to its end, from the checkpoint in a folder on.

    Args:
        trainer: begun or not.
        loader: of its batches.
        folder: of the checkpoint.
        say: progress.
        watch: called with the steps done after each, before they are saved.
        every: seconds between checkpoints within an epoch.
    """
    state = TrainingState(folder, {"trainer": trainer})
    state.load()
    loader.set_epoch(trainer.epoch)
    saved = time.monotonic()

    def report(done: int, total: int, loss: float) -> None:
        nonlocal saved
        if watch is not None:
            watch(done)
        if time.monotonic() - saved >= every:
            state.save(trainer.epoch)
            saved = time.monotonic()
            say(f"step {done} of {total}, loss {loss:.3f}")

    for loss in trainer.run(loader, report):
        state.save(trainer.epoch)
        score = trainer.best.scores[-1][1] if trainer.best else None
        say(f"epoch {trainer.epoch} of {trainer.recipe.epochs}, loss {loss:.3f}, score {score}")


def from_scratch(name: str, settings: FromScratch, data: DataSplits, store: Store, say: Say) -> nn.Module:
    """A network trained on the images that are not held out, products in bfloat16; one for all seeds."""
    key: Json = {"network": name, "from_scratch": asdict(settings)}

    def train(network: nn.Module) -> None:
        lay_out(network, torch.channels_last)
        trainer = Trainer(network, settings.recipe)
        loader = data.train_loader(BATCH) if settings.images is None else _few(data, settings.images)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            finish(trainer, loader, store.path("training", key), say)
        lay_out(network, torch.contiguous_format)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return store.network(key, make_model(name), train).eval()


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Puts weights [O, I, H, W] in that layout; convolutions then give their outputs in it, faster if channels last."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _few(data: DataSplits, images: int) -> Loader:
    return Loader(data.train.take(slice(images)), BATCH)
