"""Convolutions of one to three axes as layers: gradients, padding, and what a trace samples of their inputs."""

import numpy as np
import pytest
import torch
from torch import nn

from approx import LayerTable, Operands, quantise
from approx.convolution import QuantConv

LAYERS = [
    (nn.Conv1d(4, 6, 4, padding="same", groups=2), (9,)),
    (nn.Conv1d(2, 3, 3, 2, padding=2, dilation=3), (11,)),
    (nn.Conv2d(2, 2, (4, 2), padding="same", dilation=(1, 3)), (6, 5)),
    (nn.Conv3d(2, 4, (2, 3, 2), padding="same"), (3, 4, 5)),
    (nn.Conv3d(3, 3, 2, (2, 1, 2), (1, 0, 2), (1, 2, 1), groups=3), (4, 5, 3)),
    (nn.Conv3d(2, 2, (1, 3, 3), padding="valid"), (2, 4, 4)),
]


def made(layer: nn.Module, size: tuple[int, ...]) -> tuple[QuantConv, torch.Tensor]:
    """The layer in a calibrated network, its zero point above 0, and inputs [3, C, ...] on its grid."""
    with torch.no_grad():
        flat = layer(torch.zeros(1, layer.in_channels, *size)).numel()
    images = torch.randn(3, layer.in_channels, *size) + 0.7
    found = quantise(nn.Sequential(layer, nn.Flatten(), nn.Linear(flat, 2)), [images]).layers()["0"]
    assert isinstance(found, QuantConv) and int(found.sources[0].zero_point) > 0
    return found, found.sources[0].reals(found.sources[0].codes(images))


@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=str)
def test_product_and_gradients_are_autograd_s(layer: nn.Module, size: tuple[int, ...]) -> None:
    quantised, reals = made(layer, size)
    x, weight = reals.clone().requires_grad_(), quantised.weight.detach().clone().requires_grad_()
    response = quantised.product(x, weight)
    assert torch.allclose(response + layer.bias.view(-1, *[1] * len(size)), layer(reals), atol=1e-4)
    grad = torch.randn_like(response)
    response.backward(grad)
    into_x, into_weight = quantised.gradients(grad, x.detach(), weight.detach())
    assert torch.allclose(into_x, x.grad, atol=1e-4) and torch.allclose(into_weight, weight.grad, atol=1e-3)


@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=str)
@pytest.mark.parametrize("operands", list(Operands))
def test_exact_products_give_the_exact_convolution(layer: nn.Module, size: tuple[int, ...], operands: Operands) -> None:
    """Every coding's zero-point terms cancel: what is left is the convolution of centred integers."""
    quantised, reals = made(layer, size)
    quantised.use_circuit("exact", operands, None)
    numbers, source = quantised.integers(), quantised.sources[0]
    centred = (source.codes(reals) - source.zero_point).double()
    weight = (numbers.values - numbers.weight_zero.view(-1, *[1] * (len(size) + 1))).double()
    wanted = quantised.product(centred, weight) + quantised.per_channel(numbers.bias, centred)
    got = quantised.channels_first(quantised.accumulate(reals, numbers))
    assert torch.equal(got, wanted.round().long())


@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=str)
def test_receptive_fields_are_those_of_outputs(layer: nn.Module, size: tuple[int, ...]) -> None:
    """A sum over a sampled field through a table is the layer's own sum at some output, and most outputs come up."""
    quantised, reals = made(layer, size)
    table = np.random.default_rng(0).integers(-9999, 9999, (255, 256)).astype(np.int32)
    quantised.use_circuit("random", Operands.SIGN_MAGNITUDE, LayerTable(table, 127))
    codes, numbers = quantised.codes(reals), quantised.integers()
    fields = quantised.receptive_fields(codes, 400, torch.Generator().manual_seed(0)).long()  # [groups, S, K]
    index = (numbers.values.flatten(1).long() + 127).view(quantised.groups, -1, 1, fields.shape[2])
    sums = torch.from_numpy(table)[index, fields[:, None]].sum(3).flatten(0, 1).T  # [S, O]
    rows = {tuple(row) for row in quantised.sums(codes, numbers)[0].flatten(0, -2).tolist()}
    seen = {tuple(row) for row in sums.tolist()}
    assert seen <= rows and len(seen) > 0.8 * len(rows)


def test_same_padding_puts_the_odd_position_behind() -> None:
    layer, _ = made(nn.Conv3d(1, 1, (2, 3, 4), padding="same"), (4, 4, 4))
    assert layer.geometry.padding == (0, 1, 1, 1, 1, 2)
