"""Integer layer normalisation against Python integers, and against the real one."""

from math import isqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from approx import Arithmetic, quantise
from approx.layer_norm import LARGEST, QuantLayerNorm, normalised, square_root
from approx.quantizer import Quantizer
from approx.requantise import fixed_point


def observed(values: torch.Tensor) -> Quantizer:
    quantizer = Quantizer()
    quantizer.observe(values)
    quantizer.calibrate()
    return quantizer


def layer(x: torch.Tensor, eps: float = 1e-5) -> tuple[QuantLayerNorm, torch.Tensor]:
    """A calibrated layer and its input on its grid."""
    gamma, beta = torch.randn(x.shape[-1]), torch.randn(x.shape[-1]) * 3
    source = observed(x)
    x = source.reals(source.codes(x))
    norm = QuantLayerNorm("norm", source, observed(F.layer_norm(x, gamma.shape, gamma, beta, eps)), (gamma, beta), eps)
    norm.arithmetic = Arithmetic.INTEGER
    return norm, x


def spelt_out(norm: QuantLayerNorm, codes: list[int]) -> list[int]:
    """Output codes of one row, in Python integers."""
    size = len(codes)
    fraction = 16 - (size - 1).bit_length()
    centred = [size * c - sum(codes) for c in codes]
    eps = round(size**2 * min(norm.eps / float(norm.sources[0].scale) ** 2, 2.0**30))
    variance = max(1, sum(u * u for u in centred) // size + eps)
    reciprocal = (1 << 56) // isqrt(variance << (2 * fraction))
    shift = 44 - fraction
    gamma, beta, step = norm.affine()
    multiplier, places = (int(v.item()) for v in fixed_point(np.array(float(step) / float(norm.output.scale))))
    result = []
    for u, g, b in zip(centred, gamma.tolist(), beta.tolist(), strict=True):
        n = (u * reciprocal + (1 << (shift - 1))) >> shift
        code = ((n * g + b) * multiplier + (1 << (places - 1))) >> places
        result.append(min(255, max(0, code + int(norm.output.zero_point))))
    return result


@pytest.mark.parametrize("features", [1, 2, 5, 64, 197])
def test_every_code_is_that_of_python_integers(features: int) -> None:
    norm, x = layer(torch.randn(3, 4, features) + 0.4)
    with torch.no_grad():
        got = norm.output.codes(norm(x)).long().flatten(0, 1).tolist()
    assert got == [spelt_out(norm, row) for row in norm.sources[0].codes(x).long().flatten(0, 1).tolist()]


@pytest.mark.parametrize(("features", "size"), [(3, 1.0), (64, 0.01), (768, 10.0), (LARGEST, 1.0)])
def test_it_is_within_a_step_of_the_real_one(features: int, size: float) -> None:
    norm, x = layer(torch.randn(8, features) * size)
    with torch.no_grad():
        error = (norm(x) - norm.output(norm.real(x))).abs().max()
    assert error <= 1.001 * float(norm.output.scale)


def test_a_flat_row_is_beta() -> None:
    norm, x = layer(torch.randn(4, 16))
    with torch.no_grad():
        flat = norm(x[:, :1].expand(4, 16).contiguous())
    low, high = norm.output.reals(torch.tensor(norm.bounds))
    assert ((flat - norm.bias.clamp(low, high)).abs() <= float(norm.output.scale)).all()


@settings(max_examples=200)
@given(st.integers(0, 2**62 - 1))
def test_the_root_is_the_integer_root(value: int) -> None:
    near = [value, isqrt(value) ** 2, max(0, isqrt(value) ** 2 - 1)]
    assert square_root(torch.tensor(near)).tolist() == [isqrt(v) for v in near]


@pytest.mark.parametrize("eps", [0.0, 2.0**30])
def test_nothing_overflows_at_the_extremes(eps: float) -> None:
    one_hot = torch.zeros(1, LARGEST, dtype=torch.int64)
    one_hot[0, 0] = 255
    halves = torch.arange(LARGEST)[None] % 2 * 255
    for codes in (one_hot, halves):
        found = normalised(codes, torch.tensor(eps, dtype=torch.float64)).double() / 2**12
        centred = codes.double() - codes.double().mean()
        assert torch.allclose(found, centred / (centred.square().mean() + max(eps, LARGEST**-2.0)).sqrt(), atol=1e-3)


def test_gradients_are_those_of_the_real_layer() -> None:
    norm, x = layer(torch.randn(6, 32))
    norm.output.scale.mul_(2)
    grad, found = torch.randn(6, 32), []
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        norm.arithmetic = arithmetic
        norm.zero_grad()
        leaf = x.clone().requires_grad_()
        norm(leaf).backward(grad)
        found.append([leaf.grad, norm.weight.grad.clone(), norm.bias.grad.clone()])
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*found, strict=True))


def test_capture_with_and_without_parameters() -> None:
    tokens = torch.randn(8, 5, 6)
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 2))
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 2.0)
        model[1].bias.uniform_(-1.0, 1.0)
    network = quantise(model, [tokens])
    labels = [step.label for step in network.operations() if isinstance(step, QuantLayerNorm)]
    assert labels == ["1", "layer_norm_1"]
    assert (network(tokens) - model(tokens)).abs().max() < 0.05 * model(tokens).abs().max()


@pytest.mark.parametrize(("sizes", "message"), [((5, 6), r"normalises \[5, 6\]"), ((LARGEST + 1,), "at most 8192")])
def test_what_is_refused_says_why(sizes: tuple[int, ...], message: str) -> None:
    features = sizes[-1]
    with pytest.raises(ValueError, match=message):
        quantise(nn.Sequential(nn.Linear(features, features), nn.LayerNorm(sizes)), [torch.randn(2, 5, features)])
