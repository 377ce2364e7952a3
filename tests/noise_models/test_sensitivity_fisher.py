"""The gradient pass: per-sample gradients by hand, the rise of the loss they predict, and what is refused."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from approx import Arithmetic
from noise_models.sensitivity import Sensitivity, measure_sensitivity
from noise_models.sensitivity.gradient_pass import _probe


def test_sensitivity_is_the_per_sample_gradient(small: Any) -> None:
    network = small.network
    given = measure_sensitivity(network, small.batches, temperature=1.0)
    assert given.samples == 96
    for layer_name, layer in network.layers().items():
        incoherent = torch.zeros(len(layer.weight), dtype=torch.float64)
        coherent = incoherent.clone()
        responses: list[torch.Tensor] = []

        def keep(y: torch.Tensor, responses: list[torch.Tensor] = responses) -> torch.Tensor:
            y.retain_grad()
            responses.append(y)
            return y

        layer.perturb = keep
        with network.using(Arithmetic.FAKE):
            for images, labels in small.batches:
                for image, label in zip(images, labels, strict=True):  # one sample at a time
                    F.cross_entropy(network(image[None]), label[None]).backward()
                    gradient = responses.pop().grad
                    assert gradient is not None
                    per_channel = gradient[0].flatten(1) if gradient.dim() == 4 else gradient[0][:, None]
                    incoherent += per_channel.square().sum(1)
                    coherent += per_channel.sum(1).square()
        layer.perturb = None
        np.testing.assert_allclose(given[layer_name].incoherent, incoherent / 96, rtol=1e-3)
        np.testing.assert_allclose(given[layer_name].coherent, coherent / 96, rtol=1e-3, atol=1e-9)
    network.zero_grad()


def test_random_signs_give_the_fisher_information() -> None:
    scores = torch.tensor([2.0, -1.0, 0.5, -4.0]).expand(20000, 4)
    drawn = _probe(scores, torch.Generator().manual_seed(0)).double()
    p = scores[0].softmax(0).double()
    np.testing.assert_allclose(drawn.T @ drawn / 20000, torch.diag(p) - p.outer(p), atol=4e-3)
    np.testing.assert_allclose(drawn.sum(1), 0, atol=1e-6)  # equal scores for all classes change nothing
    assert drawn.square().sum(1).max() < 4 * (1 - p.square().sum())  # a label of chance 0.002 would give 1.6


def test_sensitivity_predicts_the_rise_of_the_loss(small: Any) -> None:
    """Noise of std s and a shift m in one layer raise KL(clean, noisy) by 1/2 Σ (F s^2 + G m^2)."""
    network, images = small.network, torch.cat(small.images)
    found = measure_sensitivity(network, [images] * 40, temperature=1.0)
    layer, known = network.layers()["2"], found["2"]
    random = torch.Generator().manual_seed(0)

    def rise(change) -> float:  # type: ignore[no-untyped-def]
        with torch.no_grad(), network.using(Arithmetic.FAKE):
            clean = F.log_softmax(network(images), 1)
            layer.perturb = change
            total = sum(
                float(F.kl_div(F.log_softmax(network(images), 1), clean, reduction="batchmean", log_target=True))
                for _ in range(20)
            )
            layer.perturb = None
        return total / 20

    noise = rise(lambda y: y + 0.1 * torch.randn(y.shape, generator=random))
    assert noise == pytest.approx(0.5 * 0.01 * known.incoherent.sum(), rel=0.3)
    shift = rise(lambda y: y + 0.1 * F.one_hot(torch.tensor(2), 6).view(1, 6, 1, 1))
    assert shift == pytest.approx(0.5 * 0.01 * known.coherent[2], rel=0.3)


def test_sensitivity_leaves_the_network_as_it_was(small: Any, tmp_path: Path) -> None:
    network = small.network
    layer = network.layers()["2"]
    steps: list[tuple[int, int, str]] = []
    layer.perturb = torch.relu  # whatever perturbed a layer neither counts nor gets lost
    first = measure_sensitivity(network, small.images, progress=lambda *step: steps.append(step))
    assert layer.perturb is torch.relu
    layer.perturb = None
    assert [s[:2] for s in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(op.arithmetic is Arithmetic.INTEGER for op in network.operations())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    again = measure_sensitivity(network, iter(small.images))
    first.save(tmp_path / "s.safetensors")
    loaded = Sensitivity.load(tmp_path / "s.safetensors")
    assert list(loaded.layers) == list(network.layers()) and loaded.samples == 96
    for name in loaded.layers:
        np.testing.assert_array_equal(loaded[name].incoherent, again[name].incoherent)
        np.testing.assert_array_equal(loaded[name].coherent, first[name].coherent)
    other = measure_sensitivity(network, small.images, seed=1)
    assert any((other[name].incoherent != again[name].incoherent).any() for name in loaded.layers)
    (tmp_path / "cut").write_bytes((tmp_path / "s.safetensors").read_bytes()[:50])
    with pytest.raises(ValueError, match="expected a sensitivity file"):
        Sensitivity.load(tmp_path / "cut")


def test_sensitivity_refuses_bad_data(small: Any) -> None:
    network = small.network
    images, labels = small.batches[0]

    def nothing() -> Iterator[torch.Tensor]:
        yield from ()

    def refused(match: str, *batches: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=match):
            measure_sensitivity(network, batches, **options)

    with pytest.raises(ValueError, match="yielded nothing"):
        measure_sensitivity(network, nothing())
    one_bad = images.clone()
    for value in (math.nan, math.inf, -math.inf):
        one_bad[7, 1, 2, 3] = value
        refused("1 of 32 images of batch 2 hold NaN or infinity", images, one_bad)
    refused("batch 1 holds no images", images[:0])
    refused(r"labels must lie in 0\.\.2.*got -5\.\.-3", (images, labels.clamp(0, 2) - 5))
    refused(r"labels must lie in 0\.\.2.*got 3\.\.3", (images, torch.full((32,), 3)))
    refused("one label per image, 32", (images, labels[:5]))
    refused("integer labels, got torch.float32", (images, labels.float()))
    refused("temperature", images, temperature=0)
    refused("temperature", images, temperature=math.nan)
    assert all(layer.perturb is None for layer in network.layers().values())
    assert all(p.requires_grad for p in network.parameters())
