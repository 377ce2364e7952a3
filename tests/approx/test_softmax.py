"""Integer softmax against Python integers, and against the real one."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from approx import Arithmetic, quantise
from approx.quantizer import Quantizer
from approx.requantise import fixed_point
from approx.softmax import QuantSoftmax


def observed(values: torch.Tensor) -> Quantizer:
    quantizer = Quantizer()
    quantizer.observe(values)
    quantizer.calibrate()
    return quantizer


def layer(x: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[QuantSoftmax, torch.Tensor]:
    """A calibrated softmax and its input on its grid."""
    source = observed(x)
    step = QuantSoftmax("softmax", source, Quantizer(), mask)
    x = source.reals(source.codes(x))
    step.__dict__["output"] = observed(step.real(x))
    step.arithmetic = Arithmetic.INTEGER
    return step, x


def spelt_out(step: QuantSoftmax, codes: list[int], keep: list[bool]) -> list[int]:
    """Output codes of one row, in Python integers."""
    scale, largest = float(step.sources[0].scale), max(c for c, k in zip(codes, keep, strict=True) if k)
    e = [round(2**24 * math.exp(-scale * (largest - c))) if k else 0 for c, k in zip(codes, keep, strict=True)]
    reciprocal = (1 << 54) // sum(e)
    multiplier, shift = (int(v.item()) for v in fixed_point(np.array(2.0**-30 / float(step.output.scale))))
    shares = [(v * reciprocal + (1 << 23)) >> 24 for v in e]
    return [
        min(255, max(0, ((s * multiplier + (1 << (shift - 1))) >> shift) + int(step.output.zero_point))) for s in shares
    ]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0.1, 3.0, 100.0])
def test_every_code_is_that_of_python_integers(size: float, masked: bool) -> None:
    mask = torch.ones(7, 9).tril().bool() if masked else None
    step, x = layer(torch.randn(3, 7, 9) * size, mask)
    with torch.no_grad():
        got = step.output.codes(step(x)).long().flatten(0, 1).tolist()
    keep = (torch.ones(7, 9).bool() if mask is None else mask).repeat(3, 1).tolist()
    codes = step.sources[0].codes(x).long().flatten(0, 1).tolist()
    assert got == [spelt_out(step, *row) for row in zip(codes, keep, strict=True)]


@pytest.mark.parametrize("features", [1, 2, 197, 4096])
def test_it_is_within_half_a_step_of_the_real_one(features: int) -> None:
    step, x = layer(torch.randn(16, features) * 2)
    with torch.no_grad():
        low, high = step.output.reals(torch.tensor(step.bounds))
        error = (step(x) - step.real(x).clamp(low, high)).abs().max()
    assert error <= 0.501 * float(step.output.scale)


def test_equal_scores_share_equally() -> None:
    step, _ = layer(torch.randn(4, 10))
    with torch.no_grad():
        equal = step(torch.zeros(2, 10))
    assert (equal == equal[0, 0]).all() and abs(float(equal[0, 0]) - 0.1) <= 0.5 * float(step.output.scale)


def test_masked_positions_are_zero_whatever_they_hold() -> None:
    mask = torch.tensor([[True, True, False]])
    step, x = layer(torch.randn(50, 3), mask)
    changed = x.clone()
    changed[:, 2] = x.max()
    with torch.no_grad():
        assert torch.equal(step(x), step(changed)) and (step(x)[:, 2] == 0).all()


def test_the_gradient_is_the_real_one() -> None:
    step, x = layer(torch.randn(6, 12))
    step.output.scale.mul_(4)
    grad, found = torch.randn(6, 12), []
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        step.arithmetic = arithmetic
        leaf = x.clone().requires_grad_()
        step(leaf).backward(grad)
        found.append(leaf.grad)
    assert torch.allclose(*found, atol=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 3, -1])
def test_any_axis_but_the_images(dim: int) -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.softmax(self.conv(x), dim))

    images, model = torch.randn(16, 2, 4, 5), Gate()
    with torch.no_grad():
        wanted = model(images)
        assert (quantise(model, [images])(images) - wanted).std() < 0.03 * wanted.std()


def test_softmax_over_images_is_refused() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.softmax(self.a(x), 0))

    with pytest.raises(ValueError, match="goes over axis 0"):
        quantise(Strange(), [torch.randn(4, 3)])
