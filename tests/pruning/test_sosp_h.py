"""SOSP-H: golden values and the explicit Hessian (structured_pruning §9)."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pruning import find_groups, trace
from pruning.criteria import SospH
from pruning.testing import CriterionSuite, randomise


class TestSospHFold(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return SospH()


class TestSospHExclude(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return SospH(batch_norm="exclude")


H = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double()


def two_weights(hessian, gradient=(0.0, 0.0)):
    """A network that returns its weights θ = (1, -1), and a loss with a given gradient and Hessian there."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    model[0].weight.data = torch.tensor([[1.0], [-1.0]]).double()
    model[1].weight.data = torch.eye(2).double()
    theta, slope = torch.tensor([1.0, -1.0]).double(), torch.tensor(gradient).double()

    def loss(output, target):
        away = output - theta
        return (((away @ hessian) * away).sum(1) / 2 + away @ slope).mean()

    return find_groups(trace(model, torch.ones(2, 1).double())), [(torch.ones(3, 1).double(), None)], loss


@pytest.mark.parametrize(
    ("hessian", "gradient", "expected"),
    [
        (H, (0.0, 0.0), [0.5, 1.0]),
        (torch.diag(H.diagonal()), (0.0, 0.0), [1.0, 1.5]),
        (H, (-3.0, 5.0), [3.5, 6.0]),
        (0 * H, (-3.0, 5.0), [3.0, 5.0]),
    ],
    ids=["golden", "diagonal is OBD", "with a gradient", "linear loss"],
)
def test_golden_values(hessian, gradient, expected):
    grouping, batches, loss = two_weights(hessian, gradient)
    scores = SospH().score(grouping, batches, loss)["0"]
    torch.testing.assert_close(scores, torch.tensor(expected).double())


class Tiny(nn.Module):
    """A residual stream of two convolutions, one inside, batch norm, max pooling, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2)
        self.down, self.up = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1)
        self.hidden, self.head = nn.Linear(8, 2), nn.Linear(2, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.silu(x + self.up(F.gelu(self.down(x))))
        return self.head(torch.tanh(self.hidden(F.max_pool2d(x, 2).flatten(1))))


STRUCTURES = {"stem": ["stem", "up"], "down": ["down"], "hidden": ["hidden"]}


def explicit(model, x, y):
    """Scores from θ_s written out, the whole gradient and the whole Hessian."""
    shapes = {name: p.shape for name, p in model.named_parameters()}
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes.values()])
        values = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return F.cross_entropy(functional_call(model, values, (x,)), y)

    g, hessian = torch.autograd.functional.jacobian(loss, flat), torch.autograd.functional.hessian(loss, flat)
    theta = {}
    for group, layers in STRUCTURES.items():
        for unit in range(model.get_submodule(group).weight.shape[0]):
            own = {name: torch.zeros(shape).double() for name, shape in shapes.items()}
            for layer in layers:
                for kind in ("weight", "bias"):
                    own[f"{layer}.{kind}"][unit] = model.get_parameter(f"{layer}.{kind}").detach()[unit]
            theta[group, unit] = torch.cat([value.flatten() for value in own.values()])
    product = hessian @ sum(theta.values())
    return {unit: (own @ g).abs() + (own @ product).abs() / 2 for unit, own in theta.items()}


@pytest.mark.parametrize("kind", ["fold", "exclude"])
def test_hessian_vector_product_against_the_explicit_hessian(kind):
    """Two batches of different size; with "fold", the reference is the network with its batch norm really folded."""
    torch.manual_seed(5)
    model = randomise(Tiny()).double().eval()
    x, y = torch.randn(5, 1, 5, 5).double(), torch.arange(5) % 3
    batches = [(x[:3], y[:3]), (x[3:], y[3:])]
    scores = SospH(kind).score(find_groups(trace(model, x)), batches, F.cross_entropy)
    if kind == "fold":
        model.stem, model.norm = fuse_conv_bn_eval(model.stem, model.norm), nn.Identity()
    expected = explicit(model, x, y)
    assert {(name, unit) for name, score in scores.items() for unit in range(len(score))} == set(expected)
    for (name, unit), value in expected.items():
        torch.testing.assert_close(scores[name][unit], value, rtol=1e-9, atol=1e-12)


def test_attention_has_a_second_derivative():
    """Curvature of the loss along the first layer's filters, against finite differences of its gradient."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.qkv, self.head = nn.Linear(4, 3), nn.Linear(3, 12), nn.Linear(4, 2)

        def forward(self, x):
            q, k, v = self.qkv(self.first(x)).chunk(3, -1)
            return self.head(F.scaled_dot_product_attention(q, k, v).mean(1))

    torch.manual_seed(1)
    model, x, y = Attention().double(), torch.randn(3, 5, 4).double(), torch.tensor([0, 1, 1])
    score = SospH().score(find_groups(trace(model, x), ignore=["qkv"]), [(x, y)], F.cross_entropy)["first"]

    def slope(z):
        own = torch.full((3,), z, dtype=torch.float64).requires_grad_()
        q, k, v = model.qkv(own * model.first(x)).chunk(3, -1)
        output = model.head(((q @ k.mT / 2).softmax(-1) @ v).mean(1))
        return torch.autograd.grad(F.cross_entropy(output, y), own)[0]

    curvature = (slope(1 + 1e-5) - slope(1 - 1e-5)) / 2e-5
    torch.testing.assert_close(score, slope(1.0).abs() + curvature.abs() / 2, rtol=1e-6, atol=1e-9)


def test_a_missing_second_derivative_is_named():
    model, x = nn.Sequential(nn.Linear(2, 3), nn.Hardsigmoid(), nn.Linear(3, 2)), torch.randn(2, 2)
    with pytest.raises(ValueError, match="no second derivative: PyTorch says .*hardsigmoid"):
        SospH().score(find_groups(trace(model, x)), [(x, torch.tensor([0, 1]))], F.cross_entropy)


def test_units_without_filters_are_refused():
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.head = nn.Parameter(torch.randn(6)), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(x.mean(1, keepdim=True) * self.scale)

    grouping = find_groups(trace(Learnt(), torch.randn(2, 6)))
    assert grouping.groups
    with pytest.raises(ValueError, match=r"group 'scale': no convolution"):
        SospH().score(grouping, [(torch.randn(2, 6), torch.tensor([0, 1]))], F.cross_entropy)


def test_bad_options():
    with pytest.raises(ValueError, match="sosp-h, batch_norm: expected"):
        SospH("drop")
