"""Functions as tables, products, constants and numbers: against arithmetic written out, and in captured networks."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, QuantisedNetwork, quantise
from approx.addition import QuantAdd
from approx.constant import QuantConstant
from approx.lookup import QuantLookup
from approx.product import QuantProduct
from approx.quantizer import Quantizer
from approx.requantise import fixed_point


def observed(values: torch.Tensor) -> Quantizer:
    quantizer = Quantizer()
    quantizer.observe(values)
    quantizer.calibrate()
    return quantizer


def test_a_lookup_is_the_function_of_every_code() -> None:
    x = torch.randn(500) * 3
    source, output = observed(x), observed(F.gelu(x))
    step = QuantLookup("gelu", source, output, F.gelu)
    step.arithmetic = Arithmetic.INTEGER
    every = source.reals(torch.arange(256).view(2, 128))
    with torch.no_grad():
        got = output.codes(step(every)).flatten().tolist()
    for code, found in enumerate(got):
        real = float(source.scale) * (code - int(source.zero_point))
        wanted = 0.5 * real * (1 + math.erf(real / 2**0.5)) / float(output.scale) + int(output.zero_point)
        assert found == min(255, max(0, round(wanted)))


def test_a_product_is_that_of_centred_codes() -> None:
    x, y = torch.randn(3, 4, 5, 2) + 1, torch.randn(3, 4, 1, 1) - 0.5
    sources = observed(x), observed(y)
    x, y = (q.reals(q.codes(v)) for q, v in zip(sources, (x, y), strict=True))
    output = observed(x * y)
    step = QuantProduct("scaled", sources, output)
    step.arithmetic = Arithmetic.INTEGER
    with torch.no_grad():
        got = output.codes(step(x, y)).numpy()
    left, right = (q.codes(v).numpy().astype(int) - int(q.zero_point) for q, v in zip(sources, (x, y), strict=True))
    size = float(sources[0].scale) * float(sources[1].scale) / float(output.scale)
    multiplier, shift = (int(v.item()) for v in fixed_point(np.array(size)))
    wanted = ((left * right * multiplier + (1 << (shift - 1))) >> shift) + int(output.zero_point)
    assert (got == wanted.clip(0, 255)).all()


def test_a_product_has_the_gradient_of_both_factors() -> None:
    x, y = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 1, 1)
    sources = observed(x), observed(y)
    x, y = (q.reals(q.codes(v)).requires_grad_() for q, v in zip(sources, (x, y), strict=True))
    step = QuantProduct("scaled", sources, observed(2 * x * y))
    step.arithmetic = Arithmetic.INTEGER
    step.output.scale.mul_(3)
    step(x, y).sum().backward()
    assert torch.allclose(x.grad, y.expand_as(x)) and torch.allclose(y.grad, x.sum((2, 3), keepdim=True), atol=1e-6)


FUNCTIONS = [
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(inplace=True),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Hardswish(),
    nn.Hardsigmoid(),
    nn.LeakyReLU(0.2),
    nn.ELU(0.7),
    nn.SELU(),
    nn.Softplus(),
    nn.Mish(),
    nn.Hardtanh(-0.4, 0.9),
]


def network_of(middle: nn.Module) -> tuple[QuantisedNetwork, nn.Module, torch.Tensor]:
    model, images = nn.Sequential(nn.Conv2d(2, 4, 3), middle, nn.Conv2d(4, 3, 1)), torch.randn(24, 2, 6, 6)
    return quantise(model, [images]), model, images


def assert_close(network: QuantisedNetwork, model: nn.Module, images: torch.Tensor, share: float = 0.04) -> None:
    """FLOAT is the model, INTEGER near it, FAKE beside INTEGER, for numbers of images never seen."""
    with torch.no_grad():
        for count in (1, 5, len(images)):
            wanted = model(images[:count])
            with network.using(Arithmetic.FLOAT):
                assert torch.allclose(network(images[:count]), wanted, rtol=1e-3, atol=1e-4)
        assert (network(images) - wanted).std() < share * wanted.std()
        with network.using(Arithmetic.FAKE):
            assert (network(images) - wanted).std() < share * wanted.std()


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_activation_functions(function: nn.Module) -> None:
    network, model, images = network_of(function)
    assert any(isinstance(step, QuantLookup) for step in network.operations())
    assert_close(network, model, images)
    network(images).square().sum().backward()
    assert network.layers()["0"].weight.grad.abs().sum() > 0


class Arithmetics(nn.Module):
    """Every way a number or parameter meets an activation."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.scale = what, nn.Parameter(torch.randn(4, 1, 1) * 0.3 + 1)
        self.register_buffer("offset", torch.randn(1, 4, 4, 4))
        self.register_buffer("a_half", torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        match self.what:
            case "numbers":
                return (1.0 - (x * 0.3 + 2.0) / 1.5 - 0.25) ** 2
            case "number in a buffer":
                return self.a_half * x + self.a_half
            case "layer scale":
                return x * self.scale
            case "computed constant":
                return x + (self.offset * 2).roll(1, 2)[:, :, :1]
            case "difference":
                return x - torch.sigmoid(x)
            case "stretched":
                return x + x.mean((2, 3), keepdim=True)
            case "squeeze and excitation":
                return x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))
        raise AssertionError(self.what)


@pytest.mark.parametrize(
    "what",
    [
        "numbers",
        "number in a buffer",
        "layer scale",
        "computed constant",
        "difference",
        "stretched",
        "squeeze and excitation",
    ],
)
def test_arithmetic_of_activations_numbers_and_constants(what: str) -> None:
    assert_close(*network_of(Arithmetics(what)))


def test_parameters_are_trained_and_buffers_are_not() -> None:
    for what, trained in (("layer scale", True), ("computed constant", False)):
        network, _, images = network_of(Arithmetics(what))
        (constant,) = (step for step in network.operations() if isinstance(step, QuantConstant))
        assert constant.value.requires_grad is trained
        network(images).square().sum().backward()
        assert (constant.value.grad is not None) is trained
    network, _, _ = network_of(Arithmetics("layer scale"))
    assert "1.scale" in [step.label for step in network.operations()]


def test_sums_of_equal_shapes_are_still_plain_additions() -> None:
    class Residual(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.relu(x)

    network, _, _ = network_of(Residual())
    kinds = [type(step).__name__ for step in network.operations()]
    assert kinds == ["QuantInput", "QuantConv", "QuantClamp", "QuantAdd", "QuantConv"]
    assert any(isinstance(step, QuantAdd) for step in network.operations())


class Refused(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.slopes = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        match self.what:
            case "division":
                return 1.0 + x / torch.sigmoid(x)
            case "alpha":
                return torch.add(x, torch.sigmoid(x), alpha=2)
            case "slopes":
                return F.prelu(x, self.slopes)
        raise AssertionError(self.what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("division", r"aten\.div\.Tensor .*divides by an activation"),
        ("alpha", r"aten\.add\.Tensor .*alpha is 2"),
        ("slopes", r"aten\.prelu\.default .*no rule"),
    ],
)
def test_what_is_refused_says_why(what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_of(Refused(what))
