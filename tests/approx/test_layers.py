"""The integer layer against the arithmetic written out, product by product, in Python integers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from approx import Arithmetic, LayerTable, Operands, QuantisedNetwork, quantise
from approx.convolution import QuantConv


def network(conv: nn.Conv2d, size: int = 6, offset: float = 0.0) -> tuple[QuantisedNetwork, torch.Tensor]:
    """A calibrated network of the convolution and a classifier behind it."""
    with torch.no_grad():
        features = conv(torch.zeros(1, conv.in_channels, size, size)).flatten(1).shape[1]
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(features, 3))
    images = torch.randn(4, conv.in_channels, size, size) + offset
    return quantise(model, [images]), images


def spelt_out(layer: QuantConv, codes: np.ndarray) -> np.ndarray:
    """Accumulators [N, O, Ho, Wo], one product at a time."""
    numbers, g = layer.integers(), layer.geometry
    zero_x = int(layer.sources[0].zero_point)
    top, left, bottom, right = g.padding
    x = np.pad(codes, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero_x).astype(int)
    w, zero_w = numbers.values.numpy().astype(int), numbers.weight_zero.numpy()
    out, per_group = w.shape[0] // g.groups, w.shape[1]
    reach = [d * (k - 1) + 1 for d, k in zip(g.dilation, w.shape[2:], strict=True)]
    size = [(p - r) // s + 1 for p, r, s in zip(x.shape[2:], reach, g.stride, strict=True)]
    result = np.zeros((len(x), len(w), *size), np.int64)
    for n, o, i, j in itertools.product(*map(range, result.shape)):
        total = int(numbers.bias[o])
        for c, u, v in itertools.product(*map(range, w.shape[1:])):
            code = x[
                n,
                (o // out) * per_group + c,
                i * g.stride[0] + u * g.dilation[0],
                j * g.stride[1] + v * g.dilation[1],
            ]
            weight = w[o, c, u, v]
            product = (
                weight * code if layer.table is None else int(layer.table.values[weight + layer.table.offset, code])
            )
            total += product - zero_w[o] * code - zero_x * weight + zero_x * zero_w[o]
        result[n, o, i, j] = total
    return result


CONVOLUTIONS = [
    nn.Conv2d(2, 3, 3, padding=1),
    nn.Conv2d(4, 4, (3, 2), stride=(2, 1), padding=(0, 1), groups=2),
    nn.Conv2d(3, 3, 3, padding=2, dilation=2, groups=3),
    nn.Conv2d(2, 2, 4, padding="same"),
]


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("operands", list(Operands))
@pytest.mark.parametrize("approximate", [False, True])
def test_accumulators_are_the_table_s(conv: nn.Conv2d, operands: Operands, approximate: bool) -> None:
    quantised, images = network(conv, offset=0.7)
    layer = next(iter(quantised.layers().values()))
    assert isinstance(layer, QuantConv) and int(layer.sources[0].zero_point) > 0
    count = operands.highest - operands.lowest + 1
    noise = np.random.default_rng(1).integers(-900, 900, (count, 256))
    weights = np.arange(operands.lowest, operands.highest + 1)[:, None]
    values = np.where(weights < 0, -1, 1) * np.clip(np.abs(weights) * np.arange(256) + noise * approximate, 0, 65535)
    table = LayerTable(values.astype(np.int32), -operands.lowest)
    layer.use_circuit("test", operands, table)
    assert (layer.table is None) is not approximate
    reals = layer.sources[0].reals(layer.sources[0].codes(images))
    got = layer.accumulate(reals, layer.integers()).permute(0, 3, 1, 2).numpy()
    wanted = spelt_out(layer, layer.sources[0].codes(images).numpy())
    assert (got == wanted).all()


def test_padding_is_the_zero_point_not_integer_zero() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    quantised, _ = network(conv, offset=1.0)
    layer = quantised.layers()["0"]
    zero = int(layer.sources[0].zero_point)
    codes = np.outer(np.arange(-127, 128), np.arange(256))
    codes[:, zero] += 1000  # only products with the zero point err
    layer.use_circuit("test", Operands.SIGN_MAGNITUDE, LayerTable(codes.astype(np.int32), 127))
    far = layer.sources[0].reals(torch.full((1, 1, 6, 6), float((zero + 99) % 256)))
    excess = layer.accumulate(far, layer.integers())
    layer.use_circuit("exact", Operands.SIGN_MAGNITUDE, None)
    excess = (excess - layer.accumulate(far, layer.integers()))[0, :, :, 0]
    assert excess[0, 0] == 5000 and excess[0, 3] == 3000 and excess[3, 3] == 0


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_gradient_is_that_of_the_real_layer(seed: int) -> None:
    torch.manual_seed(seed)
    quantised, images = network(nn.Conv2d(2, 3, 3, stride=2, padding=1))
    gradients = []
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        quantised.use(arithmetic).zero_grad()
        quantised(images).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in quantised.parameters() if p.grad is not None]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95


def test_asymmetric_padding_has_the_right_gradient() -> None:
    quantised, images = network(nn.Conv2d(2, 2, 4, padding="same"))
    layer = quantised.layers()["0"]
    x = images.clone().requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_()
    layer.product(x, weight).square().sum().backward()
    with torch.no_grad():
        grad = 2 * layer.product(x, weight)
        into_x, into_weight = layer.gradients(grad, x.detach(), weight.detach())
    assert torch.allclose(into_x, x.grad, atol=1e-4) and torch.allclose(into_weight, weight.grad, atol=1e-3)


def test_an_uncalibrated_layer_says_so() -> None:
    from approx import capture

    raw = capture(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.randn(1, 1, 2, 2))
    with pytest.raises(ValueError, match="'1' is not calibrated"):
        raw.layers()["1"].integers()


def test_a_dead_channel_keeps_its_bias() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)
    with torch.no_grad():
        conv.weight[0] = 0.0
        conv.bias[0] = 0.75
    quantised, images = network(conv)
    output = quantised.layers()["0"](images)
    assert (output[:, 0] - 0.75).abs().max() < 0.02
