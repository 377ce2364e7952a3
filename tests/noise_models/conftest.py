"""A network small enough to check by hand, and circuits for it."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import nn

from approx import LayerTrace, QuantisedNetwork, quantise, trace
from multipliers import Library, default_library


class Small(NamedTuple):
    """Layers "0" and "2" are convolutions, "5" is linear; 96 images [2, 8, 8] in three batches with 3 classes."""

    network: QuantisedNetwork
    traces: dict[str, LayerTrace]
    batches: list[tuple[torch.Tensor, torch.Tensor]]

    @property
    def images(self) -> list[torch.Tensor]:
        return [images for images, _ in self.batches]


@pytest.fixture(scope="session")
def small() -> Iterator[Small]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is too small to share
    torch.manual_seed(0)
    images = torch.randn(96, 2, 8, 8)
    labels = (images[:, 0, :4].mean((1, 2)) * 8).round().clamp(-1, 1).long() + 1
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 3),
    )
    network = quantise(net, [images])
    yield Small(network, trace(network, [images]), list(zip(images.split(32), labels.split(32), strict=True)))
    torch.set_num_threads(before)


class Normalised(NamedTuple):
    """Layers "0", "3" and "7", the first two with batch normalisation behind them; images as those of `Small`."""

    model: nn.Module
    traces: dict[str, LayerTrace]
    batches: list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(scope="session")
def normalised(small: Small) -> Normalised:
    torch.manual_seed(0)
    images = torch.cat(small.images)
    first, second = nn.BatchNorm2d(4), nn.BatchNorm2d(6)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        first,
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, bias=False),
        second,
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 3),
    )
    for _ in range(30):
        model(images)  # gives batch normalisation its statistics
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
        second.weight.uniform_(0.5, 2.0)
    traces = trace(quantise(model.eval(), [images]), [images])
    return Normalised(model, traces, small.batches)


@pytest.fixture(scope="session")
def few_circuits() -> Library:
    names = {"mul8u_exact", "mul8s_exact", "mul8u_trunc10", "mul8u_bam_h2v6", "mul8u_drum5"}
    return default_library().filter(lambda m: m.name in names)
