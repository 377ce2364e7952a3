"""Moment matching: relative to the exact network, neutral where nothing errs."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from approx import Assignment, Choice, QuantisedNetwork, correct, quantise
from multipliers import Multiplier, Provenance


def library() -> dict[str, Multiplier]:
    products = np.outer(np.arange(256), np.arange(256))
    provenance = Provenance("test", "none", "made up", 0.0)

    def made(name: str, table: np.ndarray) -> Multiplier:
        return Multiplier(name, table.astype(np.int32), False, 8, 8, 1.0, 1.0, None, None, provenance)

    return {"low": made("low", products * 7 // 8), "exact": made("exact", products)}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(64, 2, 6, 6)


@pytest.fixture
def network(images: torch.Tensor) -> QuantisedNetwork:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    )
    return quantise(model, [images])


def test_a_scaled_multiplier_is_corrected_away(network: QuantisedNetwork, images: torch.Tensor) -> None:
    with torch.no_grad():
        exact = network(images)
        raw = copy.deepcopy(network).assign(Assignment({"*": Choice("low")}), library())(images)
        network.assign(Assignment({"*": Choice("low")}), library())
        corrected = correct(network, images)(images)
    assert (corrected - exact).abs().mean() < 0.15 * (raw - exact).abs().mean()
    for layer in network.layers().values():
        assert layer.gain.mean() == pytest.approx(8 / 7, rel=0.03)


def test_exact_layers_are_left_alone(network: QuantisedNetwork, images: torch.Tensor) -> None:
    before = copy.deepcopy(network.state_dict())
    correct(network.assign(Assignment({"*": Choice("exact")}), library()), images)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("shape", [(0, 2, 6, 6), (3, 2, 8, 8), (2, 6, 6)])
def test_no_images_and_images_of_another_size_are_refused(network: QuantisedNetwork, shape: tuple[int, ...]) -> None:
    network.assign(Assignment({"*": Choice("low")}), library())
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match="expected at least one image, of shape"):
        correct(network, torch.rand(shape))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_correcting_twice_is_refused(network: QuantisedNetwork, images: torch.Tensor) -> None:
    network.assign(Assignment({"0": Choice("low")}), library())
    correct(network, images)
    with pytest.raises(ValueError, match=r"\['0'\] are corrected already"):
        correct(network, images)
