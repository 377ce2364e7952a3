"""Rows of `benchmarks.selection` about interruption: what goes on from a checkpoint ends bit for bit the same."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from approx import Recipe
from benchmarks._report import Row, at_least
from benchmarks._selection_lab import TUNE, Laboratory
from benchmarks._selection_methods import OURS, agn_search, at_level
from benchmarks._selection_plan import Retraining
from benchmarks._selection_retraining import train

SMALL = Retraining(Recipe(epochs=2, distillation=1.0, mixup=True, ema=0.9), images=96, batch_size=16)
BROKEN_OFF = 8  # steps; in the middle of the second epoch
Tensors = Mapping[str, torch.Tensor]


class _Interrupted(Exception):
    """As if the process had been killed."""


def resume_rows(labs: Sequence[Laboratory]) -> Iterator[Row]:
    """Of the first seed."""
    lab = labs[0]
    for what, whole, resumed in (
        ("bit-exact retraining, interrupted within an epoch", *_retraining(lab)),
        ("AGN search, interrupted after an epoch", *_search(lab)),
    ):
        same = whole.keys() == resumed.keys() and all(torch.equal(whole[k], resumed[k]) for k in whole)
        yield at_least(
            f"{lab.name}, {what}: resumed as uninterrupted", float(same), "of 1", 1.0, f"{len(whole)} tensors"
        )


def _retraining(lab: Laboratory) -> tuple[Tensors, Tensors]:
    small = replace(SMALL, score=lab.plan.retraining[lab.name].score)
    point = at_level(OURS.points(lab), small.uniform_level)

    def interrupt(done: int) -> None:
        if done == BROKEN_OFF:
            raise _Interrupted

    with tempfile.TemporaryDirectory() as folder:
        whole, resumed = lab.prepared(point, TUNE), lab.prepared(point, TUNE)
        train(lab, whole, small, Path(folder, "whole"))
        try:
            train(lab, lab.prepared(point, TUNE), small, Path(folder, "resumed"), interrupt, every=0.0)
        except _Interrupted:
            train(lab, resumed, small, Path(folder, "resumed"))
    return whole.state_dict(), resumed.state_dict()


def _search(lab: Laboratory) -> tuple[Tensors, Tensors]:
    loader = lab.training(64, 16)
    epochs = [list(islice(iter(loader), 4)) for _ in range(2)]
    whole, first, second = (agn_search(lab) for _ in range(3))
    for epoch in epochs:
        whole.run_epoch(epoch)
    first.run_epoch(epochs[0])
    second.load_state(first.state())
    second.run_epoch(epochs[1])
    return whole.state(), second.state()
