"""Gradients of the noise search and of the sensitivity pass, on a network small enough to check by hand."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, LayerTrace, QuantisedNetwork, quantise, trace
from noise_models.agn import AgnSearch, AgnSettings, learn_tolerance
from noise_models.sensitivity import Sensitivity, measure_sensitivity

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def _net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 3),
    )


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is too small to share
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case() -> tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]:
    torch.manual_seed(0)
    images = torch.randn(96, 2, 8, 8)
    labels = (images[:, 0, :4].mean((1, 2)) * 8).round().clamp(-1, 1).long() + 1
    network = quantise(_net(), [images])
    return network, trace(network, [images]), list(zip(images.split(32), labels.split(32), strict=True))


def test_gradient_of_sigma_is_the_papers(case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]) -> None:
    """dL/dsigma_l = Σ g eps std(y) - lambda c_l sign(sigma_l) 1[|sigma_l| < sigma_max]."""
    network, traces, batches = case
    search = AgnSearch(network, traces, AgnSettings(strength=0.3, sigma_max=0.2))
    search.sigma.data = torch.tensor([0.1, -0.05, 0.4])
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def spy(inner):  # type: ignore[no-untyped-def]
        def perturb(y: torch.Tensor) -> torch.Tensor:
            noisy = inner(y)
            noisy.retain_grad()
            seen.append((y, noisy))
            return noisy

        return perturb

    for layer in search.network.layers().values():
        layer.perturb = spy(layer.perturb)
    images, labels = batches[0]
    search.network.train()
    loss, cross_entropy = search.loss(search.network(images), labels)
    loss.backward()
    random = torch.Generator().manual_seed(0)
    macs = torch.tensor([float(t.macs) for t in traces.values()])
    shares = macs / macs.sum()
    for index, ((y, noisy), sign, counts) in enumerate(zip(seen, (1, -1, 1), (1, 1, 0), strict=True)):
        eps = torch.randn(y.shape, generator=random)
        sigma = search.sigma[index].detach()
        torch.testing.assert_close(noisy.detach(), (y + eps * y.std() * sigma).detach())
        expected = (noisy.grad * eps * y.std()).sum() - 0.3 * shares[index] * sign * counts
        torch.testing.assert_close(search.sigma.grad[index], expected.detach(), rtol=1e-4, atol=1e-6)
    earned = (shares * torch.tensor([0.1, 0.05, 0.2])).sum()
    torch.testing.assert_close(loss, cross_entropy - 0.3 * earned)


def test_gradient_flows_through_the_std(case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]) -> None:
    network, traces, _ = case
    search = AgnSearch(network, traces, AgnSettings(sigma_init=0.3))
    add = search.network.train().layers()["0"].perturb
    assert add is not None
    y = torch.randn(5, 4, 3, 3, requires_grad=True)
    weight = torch.randn(5, 4, 3, 3)
    (weight * add(y)).sum().backward()
    eps = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    spread = (y - y.mean()) / ((y.numel() - 1) * y.std())
    torch.testing.assert_close(y.grad, (weight + 0.3 * (weight * eps).sum() * spread).detach())
    search.network.eval()
    assert add(y) is y


def test_search_leaves_the_network_alone_and_learns(
    case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches],
) -> None:
    network, traces, batches = case
    before = copy.deepcopy(network.state_dict())
    steps: list[tuple[int, int]] = []
    settings = AgnSettings(epochs=4, learning_rate=0.02, strength=0.5)
    result = learn_tolerance(network, batches, traces, settings, progress=lambda d, t, _: steps.append((d, t)))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(layer.perturb is None and layer.arithmetic is Arithmetic.INTEGER for layer in network.layers().values())
    assert steps == [(i, 12) for i in range(1, 13)]
    assert len(result.history) == 4
    assert result.history[-1].cross_entropy < result.history[0].cross_entropy
    assert result.tolerance.parameters["strength"] == 0.5
    for name, borne in result.tolerance.layers.items():
        assert borne.absolute[0] == pytest.approx(borne.relative[0] * traces[name].accumulator_std)
    assert any(borne.relative[0] != pytest.approx(0.1, abs=1e-3) for borne in result.tolerance.layers.values())
    trained = result.network
    assert not trained.training and all(layer.perturb is None for layer in trained.layers().values())
    assert any(not torch.equal(v, before[k]) for k, v in trained.state_dict().items())


def test_sigma_may_cross_zero(case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]) -> None:
    network, traces, batches = case
    search = AgnSearch(network, traces, AgnSettings(strength=0.0, learning_rate=0.5, sigma_init=1e-4))
    sizes = [search.run_epoch(batches) and search.sigma.detach().clone() for _ in range(3)]
    assert (torch.stack(sizes) < 0).any()
    assert all((t.relative >= 0).all() for t in search.tolerance().layers.values())


def test_a_resumed_search_is_the_same_search(case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]) -> None:
    network, traces, batches = case
    settings = AgnSettings(epochs=3, learning_rate=0.02, decay_every=2)
    states: list[dict[str, torch.Tensor]] = []
    whole = learn_tolerance(network, batches, traces, settings, save=states.append)
    assert all(isinstance(v, torch.Tensor) for v in states[0].values())
    resumed = learn_tolerance(network, batches, traces, settings, state=states[0])
    assert resumed.history == whole.history
    assert resumed.tolerance.to_json() == whole.tolerance.to_json()
    assert all(torch.equal(a, b) for a, b in zip(resumed.network.parameters(), whole.network.parameters(), strict=True))
    other = learn_tolerance(network, batches, traces, AgnSettings(epochs=3, learning_rate=0.02, decay_every=2, seed=1))
    assert other.tolerance.to_json() != whole.tolerance.to_json()
    with pytest.raises(ValueError, match="no state of an AGN search over 3 layers"):
        learn_tolerance(network, batches, traces, settings, state={"sigma": torch.zeros(7)})


def test_search_refuses_bad_data(case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]) -> None:
    network, traces, batches = case
    images, labels = batches[0]

    def learn(data: object, **settings: float) -> None:
        learn_tolerance(network, data, traces, AgnSettings(**{"epochs": 2, **settings}))  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="yielded nothing in epoch 1"):
        learn([])
    with pytest.raises(ValueError, match="yielded nothing in epoch 2"):
        learn(iter(batches))
    with pytest.raises(ValueError, match=r"0\.\.2.*got 0\.\.3"):
        learn([(images, torch.tensor([3] + [0] * 31))])
    with pytest.raises(ValueError, match="one label per image, 32"):
        learn([(images, labels[:5])])
    with pytest.raises(ValueError, match="loss is nan in epoch 1, step 1"):
        learn([(images * math.nan, labels)])
    with pytest.raises(ValueError, match="expected > 0"):
        AgnSettings(epochs=0)
    with pytest.raises(ValueError, match="strength=-1"):
        AgnSettings(strength=-1)
    with pytest.raises(ValueError, match=r"\['5'\] have no trace"):
        AgnSearch(network, {k: v for k, v in traces.items() if k != "5"})


def test_sensitivity_is_the_per_sample_gradient(
    case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches],
) -> None:
    network, _, batches = case
    found = measure_sensitivity(network, batches, temperature=1.0)
    given = measure_sensitivity(network, [(x, y) for x, y in batches], temperature=1.0)
    assert found.samples == given.samples == 96
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
            for images, labels in batches:
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


def test_sensitivity_predicts_the_rise_of_the_loss(
    case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches],
) -> None:
    """Noise of std s and a shift m in one layer raise KL(clean, noisy) by 1/2 Σ (F s^2 + G m^2)."""
    network, _, batches = case
    images = torch.cat([x for x, _ in batches])
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


def test_sensitivity_leaves_the_network_as_it_was(
    case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches], tmp_path: Path
) -> None:
    network, _, batches = case
    images = [x for x, _ in batches]
    steps: list[tuple[int, int, str]] = []
    first = measure_sensitivity(network, images, progress=lambda *step: steps.append(step))
    assert [s[:2] for s in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(layer.perturb is None for layer in network.layers().values())
    assert all(op.arithmetic is Arithmetic.INTEGER for op in network.operations())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    again = measure_sensitivity(network, iter(images))
    first.save(tmp_path / "s.safetensors")
    loaded = Sensitivity.load(tmp_path / "s.safetensors")
    assert list(loaded.layers) == list(network.layers()) and loaded.samples == 96
    for name in loaded.layers:
        np.testing.assert_array_equal(loaded[name].incoherent, again[name].incoherent)
        np.testing.assert_array_equal(loaded[name].coherent, first[name].coherent)
    (tmp_path / "cut").write_bytes((tmp_path / "s.safetensors").read_bytes()[:50])
    with pytest.raises(ValueError, match="not a sensitivity file"):
        Sensitivity.load(tmp_path / "cut")


def test_sensitivity_refuses_bad_data(case: tuple[QuantisedNetwork, dict[str, LayerTrace], Batches]) -> None:
    network, _, batches = case
    images, labels = batches[0]

    def nothing() -> Iterator[torch.Tensor]:
        yield from ()

    with pytest.raises(ValueError, match="yielded nothing"):
        measure_sensitivity(network, nothing())
    with pytest.raises(ValueError, match="loss of batch 1 is nan"):
        measure_sensitivity(network, [images * math.nan])
    with pytest.raises(ValueError, match="labels must lie in"):
        measure_sensitivity(network, [(images, labels - 5)])
    with pytest.raises(ValueError, match="temperature"):
        measure_sensitivity(network, [images], temperature=0)
    assert all(layer.perturb is None for layer in network.layers().values())
    assert all(p.requires_grad for p in network.parameters())
