"""Transposed convolutions against the arithmetic written out, one product at a time, in Python integers."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from approx import Arithmetic, LayerTable, Operands, quantise, trace
from approx.backward import difference_gradients
from approx.transposed_convolution import QuantConvTranspose, swap_channels
from approx.transposed_geometry import TransposedGeometry

Sizes = tuple[int, ...]


def made(layer: nn.Module, size: Sizes) -> tuple[QuantConvTranspose, torch.Tensor]:
    """The layer in a calibrated network, its zero point above 0, and inputs [2, C, ...] on its grid."""
    with torch.no_grad():
        flat = layer(torch.zeros(1, layer.in_channels, *size)).numel()
    images = torch.randn(2, layer.in_channels, *size) + 0.7
    images[0, 0] = -1.0
    found = quantise(nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(flat, 2)), [images]).layers()["0"]
    assert isinstance(found, QuantConvTranspose) and int(found.sources[0].zero_point) > 0
    return found, found.sources[0].reals(found.sources[0].codes(images))


def real_taps(g: TransposedGeometry, position: Sizes, kernel: Sizes) -> list[tuple[Sizes, Sizes]]:
    """(tap, input position) of every tap that meets an input, or padding, at an output position."""
    axes = []
    for o, s, p, d, k in zip(position, g.stride, g.padding, g.dilation, kernel, strict=True):
        axes.append([(tap, (o + p - tap * d) // s) for tap in range(k) if (o + p - tap * d) % s == 0])
    return [tuple(zip(*choice, strict=True)) for choice in itertools.product(*axes)]


def spelt_out(layer: QuantConvTranspose, codes: np.ndarray) -> np.ndarray:
    """Accumulators [N, O, ...]: what the device adds up; no product where no tap meets anything."""
    numbers, g, offset = layer.integers(), layer.geometry, layer.operands.lowest
    zero_x, zero_w = int(layer.sources[0].zero_point), numbers.weight_zero.numpy()
    values, table = numbers.values.numpy().astype(int), layer.layer_circuit.products.numpy()
    kernel, per_group = values.shape[2:], values.shape[1]
    size = [
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(
            codes.shape[2:], g.stride, g.padding, g.dilation, kernel, g.output_padding, strict=True
        )
    ]
    result = np.zeros((len(codes), len(values), *size), np.int64)
    for n, o, *position in itertools.product(*map(range, result.shape)):
        group, total = o // (len(values) // g.groups), int(numbers.bias[o])
        for tap, at in real_taps(g, tuple(position), kernel):
            inside = all(0 <= i < m for i, m in zip(at, codes.shape[2:], strict=True))
            for c in range(per_group):
                code = int(codes[(n, group * per_group + c, *at)]) if inside else zero_x
                weight = values[(o, c, *tap)]
                total += int(table[weight - offset, code]) - zero_w[o] * code - zero_x * weight + zero_x * zero_w[o]
        result[(n, o, *position)] = total
    return result


def noisy(operands: Operands) -> LayerTable:
    weights = np.arange(operands.lowest, operands.highest + 1)[:, None]
    noise = np.random.default_rng(1).integers(1, 900, (len(weights), 256))
    return LayerTable((weights * np.arange(256) + noise).astype(np.int32), -operands.lowest)


LAYERS = [
    (nn.ConvTranspose1d(2, 3, 4, 2, 1), (5,)),
    (nn.ConvTranspose1d(4, 2, 3, 3, 2, output_padding=2, dilation=2, groups=2), (4,)),
    (nn.ConvTranspose2d(2, 3, 2, 2), (3, 4)),
    (nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, groups=2), (3, 3)),
    (nn.ConvTranspose2d(2, 2, (3, 5), (1, 3), (0, 2), dilation=(3, 2)), (3, 2)),
    (nn.ConvTranspose2d(2, 2, 1, 2), (3, 3)),  # phases without taps
    (nn.ConvTranspose2d(3, 3, 3, 1, 2, groups=3), (4, 5)),  # depthwise, stride 1
    (nn.ConvTranspose3d(2, 2, (2, 3, 3), 2, (0, 1, 1)), (2, 2, 3)),
]


@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=lambda v: str(v)[:60])
@pytest.mark.parametrize("operands", list(Operands))
def test_accumulators_are_the_table_s(layer: nn.Module, size: Sizes, operands: Operands) -> None:
    quantised, reals = made(layer, size)
    codes = quantised.sources[0].codes(reals).numpy().astype(int)
    for table in (noisy(operands), None):
        quantised.use_circuit("test", operands, table)
        got = quantised.channels_first(quantised.accumulate(reals, quantised.integers())).numpy()
        wanted = spelt_out(quantised, codes)
        assert got.shape == wanted.shape and (got == wanted).all()


@settings(max_examples=60)
@given(st.data())
def test_phases_are_the_transposed_convolution(data: st.DataObject) -> None:
    """Every (output, tap) pair that meets an input is in one phase, at the input position the definition says."""
    stride, dilation, kernel, size = (data.draw(st.integers(1, 5)) for _ in range(4))
    padding = data.draw(st.integers(0, 4))
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    geometry = TransposedGeometry((stride,), (padding,), (extra,), (dilation,))
    (outputs,) = geometry.output_size((size,), (kernel,))
    if outputs < 1:
        return
    wanted = {(o, tap[0], at[0]) for o in range(outputs) for tap, at in real_taps(geometry, (o,), (kernel,))}
    got, seen = set(), []
    for phase in geometry.phases((outputs,), (kernel,)):
        (places,), (taps,), (window,) = phase.outputs, phase.taps, phase.window
        seen += places
        step = geometry.of_phase.dilation[0]
        for n, o in enumerate(places):
            got |= {(o, tap, window[n + step * (len(taps) - 1 - i)]) for i, tap in enumerate(taps)}
    assert sorted(seen) == list(range(outputs)) and got == wanted


def test_an_input_smaller_than_the_padding() -> None:
    """A phase may see nothing but padding."""
    layer = nn.ConvTranspose1d(1, 2, 2, stride=2, padding=4, dilation=9)
    quantised, reals = made(layer, (1,))
    quantised.use_circuit("test", Operands.SIGN_MAGNITUDE, noisy(Operands.SIGN_MAGNITUDE))
    got = quantised.channels_first(quantised.accumulate(reals, quantised.integers())).numpy()
    assert (got == spelt_out(quantised, quantised.sources[0].codes(reals).numpy().astype(int))).all()


def test_the_weight_swap_is_its_own_inverse() -> None:
    weight = torch.randn(6, 2, 3)
    swapped = swap_channels(weight, 3)
    assert swapped.shape == (6, 2, 3) and torch.equal(swap_channels(swapped, 3), weight)
    assert torch.equal(swapped[2, 1], weight[3, 0])  # group 1: output 0 from its input 1


@pytest.mark.parametrize(("layer", "size"), LAYERS[:5] + LAYERS[7:], ids=lambda v: str(v)[:60])
def test_gradients_are_autograd_s(layer: nn.Module, size: Sizes) -> None:
    quantised, reals = made(layer, size)
    x, weight = reals.clone().requires_grad_(), quantised.weight.detach().clone().requires_grad_()
    response = quantised.product(x, weight)
    assert torch.allclose(response + layer.bias.view(-1, *[1] * len(size)), layer(reals), atol=1e-4)
    grad = torch.randn_like(response)
    response.backward(grad)
    into_x, into_weight = quantised.gradients(grad, x.detach(), weight.detach())
    assert torch.allclose(into_x, x.grad, atol=1e-4) and torch.allclose(into_weight, weight.grad, atol=1e-3)
    assert quantised.gradients(grad, x.detach(), weight.detach(), (True, False))[1] is None
    assert quantised.gradients(grad, x.detach(), weight.detach(), (False, True))[0] is None


@pytest.mark.parametrize(("layer", "size"), [LAYERS[0], LAYERS[3]], ids=lambda v: str(v)[:60])
def test_integer_gradient_is_close_to_the_fake_one(layer: nn.Module, size: Sizes) -> None:
    with torch.no_grad():
        flat = layer(torch.zeros(1, layer.in_channels, *size)).numel()
    images = torch.randn(4, layer.in_channels, *size) + 0.5
    quantised = quantise(nn.Sequential(layer, nn.Flatten(), nn.Linear(flat, 3)), [images])
    gradients = []
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        quantised.use(arithmetic).zero_grad()
        quantised(images).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in quantised.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98


@pytest.mark.parametrize("operands", [Operands.SIGN_MAGNITUDE, Operands.AFFINE])
def test_difference_gradient_counts_only_products_that_are_made(operands: Operands) -> None:
    """Products w (x + 20) have the derivative x + 20 along w, so each one adds 20 s_x to its weight's gradient."""
    quantised, reals = made(nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1), (3, 4))
    weights = np.arange(operands.lowest, operands.highest + 1)[:, None]
    table = LayerTable((weights * (np.arange(256) + 20)).astype(np.int32), -operands.lowest)
    quantised.use_circuit("test", operands, table)
    quantised.use_gradient(2)
    numbers, codes = quantised.integers(), quantised.codes(reals)
    grad = torch.randn(quantised.product(reals, quantised.weight).shape)
    _, got = difference_gradients(quantised, numbers, grad, codes, (False, True))
    _, exact = quantised.gradients(grad, reals, quantised.weight, (False, True))
    wanted = exact.detach().clone()
    for o, *position in itertools.product(*map(range, grad.shape[1:])):
        for tap, _ in real_taps(quantised.geometry, tuple(position), (3, 3)):
            wanted[(o, slice(None), *tap)] += (
                20 * quantised.sources[0].scale.float() * grad[(slice(None), o, *position)].sum()
            )
    # the smoothed difference bends where its window meets the ends of the weights' range
    middle = (numbers.values > operands.lowest + 4) & (numbers.values < operands.highest - 4)
    assert middle.sum() > 20 and torch.allclose(
        got[middle], wanted[middle], rtol=1e-3, atol=1e-3 * float(wanted.abs().max())
    )


def test_trace_sees_real_taps_and_counts_them() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2)
    images = torch.randn(6, 4, 3, 5) + 0.5
    network_ = quantise(nn.Sequential(layer, nn.Flatten(), nn.Linear(6 * 6 * 10, 2)), [images])
    found = trace(network_, [images], patches=50)["0"]
    assert found.patches.shape == (2, 50, 18) and found.weight.shape == (6, 18)
    taps = sum(
        len(real_taps(network_.layers()["0"].geometry, p, (3, 3))) for p in itertools.product(range(6), range(10))
    )
    assert found.macs == taps * 6 * 2 < 60 * 6 * 18


def test_receptive_fields_are_what_outputs_see() -> None:
    quantised, reals = made(nn.ConvTranspose2d(2, 2, 3, 2, 1), (1, 1))
    codes, zero = quantised.codes(reals[:1]), int(quantised.sources[0].zero_point)
    fields = quantised.receptive_fields(codes, 4, torch.Generator().manual_seed(0))
    expected = np.full((2, 3, 3), zero)
    expected[:, 1, 1] = codes[0, 0, 0].numpy()
    assert (fields.numpy() == expected.reshape(1, 1, 18)).all()


def test_sums_beyond_32_bits_are_refused() -> None:
    quantised, reals = made(nn.ConvTranspose1d(1, 1, 2, 2), (3,))
    table = LayerTable(np.full((255, 256), 2**30, np.int32), 127)
    quantised.use_circuit("test", Operands.SIGN_MAGNITUDE, table)
    with pytest.raises(ValueError, match="output channel 0 over K = 2 products may reach 2147483648"):
        quantised.accumulate(reals, quantised.integers())


def test_export_holds_the_integers() -> None:
    images = torch.randn(2, 2, 3, 3)
    quantised = quantise(nn.Sequential(nn.ConvTranspose2d(2, 2, 3, 2), nn.Flatten(), nn.Linear(98, 2)), [images])
    with torch.no_grad():
        exported = torch.export.export(quantised, (images,)).module()
        assert torch.equal(exported(images), quantised(images))


def test_a_bias_of_the_real_layer_survives_in_phases_without_taps() -> None:
    layer = nn.ConvTranspose2d(1, 2, 1, 2)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.5, -0.25]))
    images = torch.randn(2, 1, 3, 3) + 1.0
    quantised = quantise(nn.Sequential(layer, nn.Flatten(), nn.Linear(50, 2)), [images]).layers()["0"]
    output = quantised(images)[:, :, 1::2]
    assert torch.allclose(output, F.conv_transpose2d(images, layer.weight, layer.bias, 2)[:, :, 1::2], atol=0.02)
