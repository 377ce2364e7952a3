"""Where the noise enters, how the layers are rounded, and what noise before batch normalisation is behind it."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from approx import LayerTrace, capture, quantise, trace
from noise_models.agn import InjectedNetwork, foldings
from noise_models.agn.injection import fake_quantise
from noise_models.prediction import ErrorPrediction

Case = Any  # `Normalised` of conftest.py


def _rounded(values: torch.Tensor, limit: float) -> torch.Tensor:
    """By definition: the nearest of the 255 multiples of limit / 127."""
    steps = torch.arange(-127, 128) * (limit / 127)
    return steps[(values[..., None] - steps).abs().argmin(-1)]


@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=30), st.floats(0.0625, 3, width=32))
def test_rounding_is_to_the_nearest_step(values: list[float], limit: float) -> None:
    x = torch.tensor(values)
    ours, wanted = fake_quantise(x, torch.tensor(limit)), _rounded(x, limit)
    step = limit / 127
    assert (ours - wanted).abs().max() <= step * 1.001  # ties and float32 may go either way ...
    inside = x.clamp(-limit, limit)
    assert ((ours - inside).abs() <= step / 2 + 1e-5 * limit).all()  # ... but never further than half a step


def test_gradients_of_rounding_are_pact_s() -> None:
    x = torch.tensor([-3.0, -0.4, 0.0, 0.7, 5.0], requires_grad=True)
    limit = torch.tensor(1.0, requires_grad=True)
    weight = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0])
    (fake_quantise(x, limit) * weight).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0, 3, 5, 7, 0]
    assert limit.grad is not None and limit.grad.item() == 11 - 2
    assert fake_quantise(torch.zeros(3), torch.tensor(0.0)).tolist() == [0, 0, 0]


def test_forward_is_the_network_with_rounded_layers_and_noise_before_bias_and_norm(normalised: Case) -> None:
    model, traces, batches = normalised
    network = InjectedNetwork(model, traces).train()
    images = batches[0][0]
    noise = {0: torch.randn(32, 4, 8, 8), 1: torch.randn(32, 6, 3, 3), 2: torch.randn(32, 3)}
    network.perturb = lambda index, y: y + noise[index]
    first, second, last = (network.model[i] for i in (0, 3, 7))  # type: ignore[index]

    def layer_input(x: torch.Tensor, index: int) -> torch.Tensor:
        t = list(traces.values())[index]
        return _rounded(x, max(t.input_zero, 255 - t.input_zero) * t.input_scale)

    def weight(layer: nn.Module) -> torch.Tensor:
        return _rounded(layer.weight, float(layer.weight.abs().max()))  # type: ignore[operator, arg-type]

    def norm(x: torch.Tensor, index: int) -> torch.Tensor:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        bn = model[index]  # type: ignore[index]
        return (x - mean) / (var + bn.eps).sqrt() * bn.weight.view(1, -1, 1, 1) + bn.bias.view(1, -1, 1, 1)

    with torch.no_grad():
        y = F.conv2d(layer_input(images, 0), weight(first), padding=1) + noise[0]
        y = norm(y + first.bias.view(1, -1, 1, 1), 1).relu()
        y = norm(F.conv2d(layer_input(y, 1), weight(second), stride=2) + noise[1], 4).relu()
        y = layer_input(y.flatten(1), 2) @ weight(last).T + noise[2] + last.bias
        got = network(images)
    # a value within float32 noise of the middle between two steps may be rounded the other way
    assert (got - y).abs().max() < 0.05 and (got - y).abs().mean() < 2e-3


def test_without_noise_it_is_close_to_the_float_network(normalised: Case) -> None:
    model, traces, batches = normalised
    images = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        wanted, got = model(images), InjectedNetwork(model, traces).eval()(images)
    assert (got - wanted).std() < 0.04 * wanted.std()  # 7 bits behind a ReLU
    assert not torch.equal(got, wanted)


class _Unusual(nn.Module):
    """Functional layers, keyword arguments, one spatial axis, groups."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.ParameterDict({"weight": nn.Parameter(torch.randn(6, 2, 3))})
        self.squeeze = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.conv1d(x, self.kernel["weight"], stride=2, groups=3).relu()
        return F.linear(y.mean(2), self.squeeze.weight, bias=self.squeeze.bias)


def _traces(model: nn.Module, images: torch.Tensor) -> dict[str, LayerTrace]:
    return trace(quantise(model.eval(), [images]), [images])


def test_functional_layers_are_found_by_their_weights() -> None:
    torch.manual_seed(0)
    model, images = _Unusual(), torch.randn(20, 6, 11)
    traces = _traces(model, images)
    network, met = InjectedNetwork(model, traces), []
    network.perturb = lambda index, y: met.append((index, tuple(y.shape))) or y  # type: ignore[func-returns-value]
    with torch.no_grad():
        got, wanted = network(images), model(images)
    assert list(traces) == ["kernel", "squeeze"] and met == [(0, (20, 6, 5)), (1, (20, 3))]
    assert (got - wanted).abs().max() < 0.1 * wanted.std()


def test_networks_that_agn_does_not_know_are_refused(normalised: Case) -> None:
    model, traces, batches = normalised
    images = batches[0][0]
    with pytest.raises(ValueError, match=r"floating-point QuantisedNetwork's own.*as it was before"):
        InjectedNetwork(capture(model, images), traces)
    with pytest.raises(ValueError, match="no layer at all"):
        InjectedNetwork(model, {})
    with pytest.raises(ValueError, match=r"\['0', '3', '7'\] is not among"):
        InjectedNetwork(nn.Sequential(nn.Conv2d(1, 1, 1)), traces)
    transposed = nn.Sequential(nn.ConvTranspose2d(2, 2, 1), nn.Flatten(), nn.Linear(128, 2))
    with pytest.raises(ValueError, match=r"layers \['0'\] did not run as convolutions"):
        InjectedNetwork(transposed, _traces(transposed, images))(images)


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(self.layer(x).relu())
        return y


def test_a_layer_applied_twice_is_refused() -> None:
    torch.manual_seed(0)
    model, images = _Twice(), torch.randn(10, 4)
    with pytest.raises(ValueError, match=r"\['layer_2'\] is not among"):
        InjectedNetwork(model, _traces(model, images))


def test_folding_says_what_noise_before_batch_normalisation_is_behind_it(normalised: Case) -> None:
    """Noise of one std of the layer's own output, sent through the folded factor of every channel."""
    model, traces, batches = normalised
    images, found = torch.cat([x for x, _ in batches]), foldings(model, traces)
    with torch.no_grad():
        y = model[0](images) - model[0].bias.view(1, -1, 1, 1)  # type: ignore[index, operator]
        norm = model[1]  # type: ignore[index]
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    np.testing.assert_allclose(found["0"].unit, (factor * y.std()).numpy(), rtol=0.05)
    assert found["0"].unit[1] < 0 == found["0"].unit[3]
    tolerance = found["0"].tolerance(0.5)
    np.testing.assert_allclose(tolerance.absolute[:3], 0.5 * np.abs(found["0"].unit[:3]))
    assert tolerance.absolute[3] == np.inf, "nothing depends on a channel that is folded to nothing"
    np.testing.assert_allclose(found["7"].unit, traces["7"].accumulator_std, rtol=1e-6)  # nothing was folded


def test_relative_std_is_the_sigma_that_an_error_uses_up(normalised: Case) -> None:
    model, traces, _ = normalised
    for name, folding in foldings(model, traces).items():
        channels = len(traces[name].weight)
        std = np.random.default_rng(0).uniform(0.1, 1, channels) * np.abs(folding.unit)
        prediction = ErrorPrediction(np.zeros(channels), std, std / 2)
        for corrected, values in ((True, std / 2), (False, std)):
            sigma = folding.relative_std(prediction, corrected)
            assert folding.tolerance(sigma).usage(values) == pytest.approx(1.0)
        assert folding.relative_std(ErrorPrediction.none(channels)) == 0
