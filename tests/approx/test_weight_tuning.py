"""Weight tuning on small networks: lower error on images it has not seen, the same grid, nothing else touched."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from approx import Assignment, ChannelChoice, Choice, QuantisedNetwork, Reference, correct, quantise, tune
from approx.quantizer import quantise_weight
from multipliers import Multiplier, Provenance


def library() -> dict[str, Multiplier]:
    unsigned, signed = np.arange(256), (np.arange(256) + 128) % 256 - 128
    provenance = Provenance("test", "none", "made up", 0.0)

    def made(name: str, table: np.ndarray, is_signed: bool = False) -> Multiplier:
        return Multiplier(name, table.astype(np.int32), is_signed, 8, 8, 1.0, 1.0, None, None, provenance)

    rough = np.random.default_rng(0).integers(-900, 900, (256, 256))
    return {
        "truncated": made("truncated", np.outer(unsigned >> 4 << 4, unsigned >> 4 << 4)),
        "rough": made("rough", np.clip(np.outer(unsigned, unsigned) + rough, 0, 65535)),
        "signed": made("signed", np.outer(signed >> 4 << 4, signed >> 4 << 4), True),
        "exact": made("exact", np.outer(unsigned, unsigned)),
    }


def seen(count: int, seed: int) -> torch.Tensor:
    """Smooth images: like real ones, neighbours tell of each other, which is what tuning lives on."""
    coarse = torch.rand(count, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (8, 8), mode="bilinear")


@pytest.fixture(scope="module")
def network() -> QuantisedNetwork:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=4, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, 5),
    )
    return quantise(model, [seen(64, 0)])


def distance(left: QuantisedNetwork, right: QuantisedNetwork) -> float:
    with torch.no_grad():
        return float((left(seen(100, 99)) - right(seen(100, 99))).square().mean())


CHOICES = [
    Choice("truncated"),
    Choice("truncated", "sign-magnitude-9"),
    Choice("truncated", "affine"),
    Choice("rough", "affine", swap=True),
    Choice("signed", "signed"),
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: f"{c.multiplier}-{c.operands}")
def test_unseen_images_come_out_nearer(network: QuantisedNetwork, choice: Choice) -> None:
    assigned = copy.deepcopy(network).assign(Assignment({"*": choice}), library())
    corrected, tuned = correct(copy.deepcopy(assigned), seen(300, 1)), tune(copy.deepcopy(assigned), seen(300, 1))
    assert distance(tuned, network) < 0.95 * distance(corrected, network)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: f"{c.multiplier}-{c.operands}")
def test_weights_stay_on_the_grid_they_had(network: QuantisedNetwork, choice: Choice) -> None:
    tuned = copy.deepcopy(network).assign(Assignment({"*": choice}), library())
    before = {name: layer.integers() for name, layer in tuned.layers().items()}
    tune(tuned, seen(200, 1))
    for name, layer in tuned.layers().items():
        now = layer.integers()
        torch.testing.assert_close(now.weight_scale, before[name].weight_scale, rtol=1e-6, atol=0)
        assert torch.equal(now.weight_zero, before[name].weight_zero)
        assert not torch.equal(now.values, before[name].values)
        values, scale, zero = quantise_weight(layer.weight, layer.operands)
        real = ((values - zero.view(-1, *[1] * (values.dim() - 1))) * scale.view(-1, *[1] * (values.dim() - 1))).float()
        torch.testing.assert_close(real, layer.weight.detach(), rtol=1e-5, atol=0)


def test_exact_layers_are_left_alone(network: QuantisedNetwork) -> None:
    tuned = tune(copy.deepcopy(network).assign(Assignment({"*": Choice("exact")}), library()), seen(50, 1))
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in tuned.state_dict().items())


def test_each_channel_is_tuned_for_its_own_circuit(network: QuantisedNetwork) -> None:
    def tuned(choice: Choice | ChannelChoice) -> torch.Tensor:
        assigned = copy.deepcopy(network).assign(Assignment({"0": choice}), library())
        return tune(assigned, seen(300, 1)).layers()["0"].weight

    mixed, before = tuned(ChannelChoice(("truncated", "rough") * 4)), network.layers()["0"].weight
    for first, circuit in enumerate(("truncated", "rough")):
        alone = tuned(Choice(circuit))[first::2]
        assert torch.equal(mixed[first::2], alone) and not torch.equal(alone, before[first::2])


def test_depthwise_layers_are_tuned() -> None:
    torch.manual_seed(0)
    exact = quantise(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), [seen(32, 0)])
    assigned = copy.deepcopy(exact).assign(Assignment({"*": Choice("rough", "affine")}), library())
    corrected, tuned = correct(copy.deepcopy(assigned), seen(300, 1)), tune(copy.deepcopy(assigned), seen(300, 1))
    assert distance(tuned, exact) < 0.95 * distance(corrected, exact)


def test_layers_that_are_not_tuned_are_corrected() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 2, 3))
    exact = quantise(model, [seen(32, 0)])
    tuned = tune(copy.deepcopy(exact).assign(Assignment({"*": Choice("truncated")}), library()), seen(32, 1))
    first, second = tuned.layers().values()
    assert torch.equal(first.weight, exact.layers()["0"].weight) and (first.gain != 1).any()
    assert not torch.equal(second.weight, exact.layers()["2"].weight)


def test_the_same_every_time_and_with_a_known_reference(network: QuantisedNetwork) -> None:
    assigned = copy.deepcopy(network).assign(Assignment({"*": Choice("truncated")}), library())
    reference = Reference.of(assigned, seen(64, 1))
    results = [tune(copy.deepcopy(assigned), seen(64, 1), known) for known in (None, reference, reference)]
    for other in results[1:]:
        assert all(torch.equal(v, results[0].state_dict()[k]) for k, v in other.state_dict().items())


def test_misuse_is_refused(network: QuantisedNetwork) -> None:
    assigned = copy.deepcopy(network).assign(Assignment({"*": Choice("truncated")}), library())
    with pytest.raises(ValueError, match="at least one pass, got 0"):
        tune(assigned, seen(8, 1), passes=0)
    tune(assigned, seen(8, 1))
    with pytest.raises(ValueError, match="corrected already"):
        tune(assigned, seen(8, 1))
