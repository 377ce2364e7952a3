"""What layers saw: patches are the receptive fields the circuit sees, padding included."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from approx import Operands, QuantisedNetwork, layer_table, load_traces, quantise, save_traces, trace
from multipliers import generate


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(32, 4, 6, 6) + 0.5


@pytest.fixture
def network(images: torch.Tensor) -> QuantisedNetwork:
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    return quantise(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(54, 3)), [images])


def test_shapes_and_macs(network: QuantisedNetwork, images: torch.Tensor) -> None:
    conv, linear = trace(network, images.split(8), patches=100).values()
    assert conv.patches.shape == (2, 100, 18) and conv.weight.shape == (6, 18)
    assert conv.macs == 9 * 6 * 18 and linear.macs == 54 * 3 and conv.fan_in == 18
    assert np.allclose(conv.patch_histograms.sum(2), 1) and conv.patch_histograms.shape == (2, 100, 256)
    for operands in Operands:
        histogram = conv.weight_histograms(operands)
        assert histogram.shape == (6, operands.highest - operands.lowest + 1)
        assert np.allclose(histogram.sum(1), 1)


def test_patches_are_what_the_convolution_multiplies(network: QuantisedNetwork) -> None:
    """With one image and one output position, every patch is that image's receptive field."""
    layer = network.layers()["0"]
    image = torch.randn(1, 4, 1, 1)
    found = trace_one(network, image)
    codes = layer.sources[0].codes(image)[0, :, 0, 0].numpy().reshape(2, 2)
    zero = int(layer.sources[0].zero_point)
    expected = np.full((2, 2, 3, 3), zero)
    expected[:, :, 1, 1] = codes
    assert (found == expected.reshape(2, 1, 18)).all()


def trace_one(network: QuantisedNetwork, image: torch.Tensor) -> np.ndarray:
    layer = network.layers()["0"]
    real = layer.sources[0].reals(layer.sources[0].codes(image))
    return layer.receptive_fields(layer.codes(real), 5, torch.Generator().manual_seed(0)).numpy()


def test_accumulator_moments_are_the_layer_s(network: QuantisedNetwork, images: torch.Tensor) -> None:
    found = trace(network, [images])["0"]
    layer = network.layers()["0"]
    source = layer.sources[0]
    with torch.no_grad():
        response = layer.product(source.reals(source.codes(images)), layer.weight)
    assert found.accumulator_std == pytest.approx(float(response.std()), rel=1e-3)
    assert found.channel_std == pytest.approx(response.std((0, 2, 3)).numpy(), rel=1e-2)


@pytest.mark.parametrize(
    ("circuit", "operands", "swap"),
    [
        ("mul8u_bam_h2v6", Operands.AFFINE, False),
        ("mul8u_bam_h2v6", Operands.AFFINE, True),
        ("mul8s_trunc6", Operands.SIGNED, False),
    ],
)
def test_operand_histograms_give_the_layer_s_mean_error(
    network: QuantisedNetwork, images: torch.Tensor, circuit: str, operands: Operands, swap: bool
) -> None:
    """The mean of P E Qᵀ over patches and channels is the circuit's bias under the layer's operand histograms."""
    linear = trace(network, [images])["3"]
    multiplier = generate(circuit)
    p, q = linear.operand_histograms(operands, swap)
    assert p.shape == q.shape == (256,) and p.sum() == pytest.approx(1) and q.sum() == pytest.approx(1)
    error = layer_table(multiplier, operands, swap).error().astype(float)
    moments = linear.patch_histograms[0].astype(float) @ error.T @ linear.weight_histograms(operands).astype(float).T
    assert multiplier.statistics(p, q).bias == pytest.approx(moments.mean(), rel=1e-5)


def test_sign_magnitude_circuits_see_magnitudes(network: QuantisedNetwork, images: torch.Tensor) -> None:
    linear = trace(network, [images])["3"]
    p, q = linear.operand_histograms(Operands.SIGN_MAGNITUDE)
    magnitudes = np.abs(linear.weight_values(Operands.SIGN_MAGNITUDE)[0])
    assert q @ np.arange(256) == pytest.approx(magnitudes.mean()) and not q[128:].any()
    assert p @ np.arange(256) == pytest.approx(linear.patches.mean())


def test_round_trip_keeps_order_and_values(network: QuantisedNetwork, images: torch.Tensor, tmp_path: Path) -> None:
    traces = trace(network, [images])
    save_traces(traces, tmp_path / "t.safetensors")
    again = load_traces(tmp_path / "t.safetensors")
    assert list(again) == list(traces) == ["0", "3"]
    for name in traces:
        assert (again[name].patches == traces[name].patches).all()
        assert again[name].accumulator_std == traces[name].accumulator_std and again[name].macs == traces[name].macs


def test_no_data(network: QuantisedNetwork) -> None:
    with pytest.raises(ValueError, match="yielded nothing"):
        trace(network, [])
