"""benchmarks.pruning_published: what it reports, and that an interrupted training goes on."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from approx import accuracy
from benchmarks import pruning_published as benchmark
from picojoule.data import DataSplits, Images, Loader, Normalisation

RECIPE = replace(benchmark.RECIPE, epochs=2, warmup_steps=0)


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    ).eval()


@pytest.fixture
def splits(monkeypatch):
    network = make_network()
    monkeypatch.setattr(benchmark, "original", lambda name: network)
    draw = torch.Generator().manual_seed(1)
    normalisation = Normalisation(255.0, mean=(0.5,) * 3, std=(0.25,) * 3)

    def images(count):
        pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=draw, dtype=torch.uint8)
        return Images(pixels, torch.arange(count) % 10, normalisation, tuple("0123456789"))

    return DataSplits(images(320), images(10), images(100))


def trained(splits, folder):
    list(benchmark.rows(splits, RECIPE, benchmark.Store(folder)))
    (file,) = (folder / "networks").iterdir()
    return load_file(file)


def test_test_accuracy_at_every_stage_beside_the_published(splits, tmp_path):
    rows = list(benchmark.rows(splits, RECIPE, benchmark.Store(tmp_path)))
    unpruned, shot, _normed, after, change = (row.value for row in rows)
    example, test = torch.zeros(1, 3, 8, 8), Loader(splits.test, 50)
    assert unpruned == 100 * accuracy(make_network(), test)
    assert shot == 100 * accuracy(benchmark.cut(example), test)
    assert change == pytest.approx(after - unpruned)
    assert rows[3].case.startswith("resnet56, 2.") and rows[3].goal == 93.5 and rows[3].holds is False


def test_an_interrupted_training_goes_on_to_the_same_end(splits, tmp_path, monkeypatch):
    whole = trained(splits, tmp_path / "whole")

    def interrupt(text):
        raise KeyboardInterrupt(text)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="epoch 1 of 2"):
        patch.setattr(benchmark, "_say", interrupt)
        trained(splits, tmp_path / "parts")
    rest = []
    monkeypatch.setattr(benchmark, "_say", rest.append)
    assert_close(trained(splits, tmp_path / "parts"), whole, rtol=0, atol=0)
    assert len(rest) == 1 and rest[0].startswith("epoch 2 of 2")
