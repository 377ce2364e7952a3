"""Layers as rows and patches, and the shares of their sums, against the definitions (structured_pruning §2)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning import find_groups, trace
from pruning import patches as patches_module
from pruning.activations import activations
from pruning.patches import channel_columns, layer_patches, parameter_layers, patches, weight_of_rows, weight_rows
from pruning.rules.context import argument, operand
from pruning.sensitivity import largest_shares, largest_unit_shares, log_factor, mean_shares, sample_size

GOLDEN = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]]).double()
ONES = torch.ones(1, 1, 2, 1).double()


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def definition(rows, patch):
    """g [N, G, O, K, P], larger of both signs, one array for everything."""
    found = []
    for signed in (rows.clamp(min=0), (-rows).clamp(min=0)):
        terms = signed[None, ..., None] * patch[:, :, None]
        total = terms.sum(3, keepdim=True)
        found.append(torch.where(total > torch.finfo(torch.float32).eps, terms / total, 0.0))
    return torch.maximum(*found)


def test_golden_values():
    assert largest_shares(GOLDEN, ONES).tolist() == [[[0.25, 0.75], [0.5, 0.5]]]
    assert mean_shares(GOLDEN, ONES).tolist() == [[[0.25, 0.75], [0.5, 0.5]]]
    assert largest_unit_shares(GOLDEN, ONES, torch.tensor([[0, 1]]), 2).tolist() == [0.5, 0.75]
    assert largest_unit_shares(GOLDEN, ONES, torch.tensor([[1, 1]]), 3).tolist() == [0.0, 1.0, 0.0]
    assert largest_unit_shares(GOLDEN, ONES, torch.tensor([[-1, 0]]), 1).tolist() == [0.75]


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), sizes=st.tuples(*[st.integers(1, 4)] * 5))
def test_shares_against_the_definition(seed, sizes):
    n, groups, outputs, width, positions = sizes
    rows, patch = random(groups, outputs, width, seed=seed), random(n, groups, width, positions, seed=seed + 1).relu()
    shares = definition(rows, patch)
    torch.testing.assert_close(largest_shares(rows, patch), shares.amax((0, 4)), rtol=0, atol=1e-11)
    torch.testing.assert_close(mean_shares(rows, patch), shares.mean(4).amax(0), rtol=0, atol=1e-11)
    columns = torch.randint(-1, 3, (groups, width), generator=torch.Generator().manual_seed(seed))
    expected = torch.zeros(3).double()
    for unit in range(3):
        mine = (columns == unit).double()
        for signed in (rows.clamp(min=0), (-rows).clamp(min=0)):
            own, total = ((signed * part) @ patch for part in (mine[:, None], torch.ones_like(mine)[:, None]))
            share = torch.where(total > torch.finfo(torch.float32).eps, own / total, 0.0)
            expected[unit] = max(float(expected[unit]), float(share.max()))
    torch.testing.assert_close(largest_unit_shares(rows, patch, columns, 3), expected, rtol=0, atol=1e-11)


@settings(max_examples=30)
@given(seed=st.integers(0, 9999), scale=st.floats(0.01, 100))
def test_shares_of_a_sum_add_up_to_one_and_have_no_scale(seed, scale):
    rows, patch = random(2, 5, 4, seed=seed), random(1, 2, 4, 1, seed=seed + 1).abs() + 0.1
    shares = largest_shares(rows, patch)
    for sign in (rows > 0, rows < 0):
        total = (shares * sign).sum(-1)[sign.any(-1)]
        torch.testing.assert_close(total, torch.ones_like(total))
    torch.testing.assert_close(largest_shares(-scale * rows, patch), shares, rtol=0, atol=1e-11)


def test_nothing_to_share():
    tiny = torch.full((1, 1, 2, 1), 1e-8).double()
    assert not largest_shares(GOLDEN, tiny).any() and not mean_shares(GOLDEN, tiny).any()
    assert not largest_shares(torch.zeros(1, 2, 2).double(), ONES).any()


class Odd(nn.Module):
    """Convolutions of one and three dimensions, strides, dilation, "same" padding, groups, tokens and a matrix."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv1d(3, 6, 4, stride=2, padding=1, dilation=2)
        self.same = nn.Conv1d(6, 8, 4, padding="same", groups=2)
        self.cube = nn.Conv3d(2, 4, (2, 3, 1), padding=(0, 1, 2))
        self.tokens, self.matrix = nn.Linear(8, 5), nn.Parameter(torch.randn(5, 7))

    def forward(self, x, y):
        x = self.same(self.one(x)).transpose(1, 2)
        return self.tokens(x).relu() @ self.matrix, self.cube(y)


@pytest.fixture(scope="module")
def odd():
    torch.manual_seed(2)
    return trace(Odd().double(), (random(2, 3, 24), random(2, 2, 5, 4, 3)))


def require_products(traced):
    """Rows times patches are the layer without its bias, for every layer; the number of layers."""
    layers, values = parameter_layers(traced), traced.values()
    inputs = activations(traced, traced.inputs, {operand(layer, 0).name for layer in layers})
    results = activations(traced, traced.inputs, {layer.name for layer in layers})
    for layer, name in layers.items():
        rows = weight_rows(layer, values[name].detach().double())
        assert torch.equal(weight_of_rows(layer, rows, values[name].shape), values[name].detach().double())
        result = results[layer.name].double()
        channels = 1 if "conv" in str(layer.target) else result.ndim - 1
        bias = argument(layer, 2, "bias")
        if bias is not None:
            offset = values[traced.tensors()[bias.name]].detach().double()
            result = result - offset.reshape([-1 if i == channels else 1 for i in range(result.ndim)])
        made = rows @ patches(layer, inputs[operand(layer, 0).name].double())
        torch.testing.assert_close(made.flatten(), result.flatten(), rtol=1e-4, atol=1e-4)
    return len(layers)


@pytest.mark.parametrize(("name", "count"), [("conv", 4), ("grouped", None), ("nhwc", 2), ("matmul", 3), ("gates", 7)])
def test_rows_times_patches_are_the_layer(traced, name, count):
    assert require_products(traced(name)) == (count or require_products(traced(name)))


def test_rows_times_patches_are_odd_layers(odd):
    assert require_products(odd) == 5


def test_columns_of_channels(odd):
    layer = next(node for node, name in parameter_layers(odd).items() if name == "same.weight")
    assert channel_columns(layer, torch.arange(6)).tolist() == [
        [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
        [3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5],
    ]


@pytest.mark.parametrize("chunk", [1, 10**6])
def test_patches_of_data(traced, monkeypatch, chunk):
    """Signs are stacked as examples, only the first examples are taken, and chunks do not matter."""
    monkeypatch.setattr(patches_module, "CHUNK", chunk)
    network = traced("conv")
    stem = next(iter(parameter_layers(network)))
    batches = [(torch.randn(3, 3, 8, 8), None), (torch.randn(3, 3, 8, 8), None)]
    found = torch.cat([p for _, p in layer_patches(network, [stem], batches, 4, "x")])
    x = torch.cat([batches[0][0], batches[1][0][:1]]).double()
    expected = torch.cat([patches(stem, part) for part in (x.clamp(min=0), (-x).clamp(min=0))])
    assert float(found.min()) == 0 and len(found) == 8
    torch.testing.assert_close(found.sum(0), expected.sum(0))
    with pytest.raises(ValueError, match="criterion 'x' needs data"):
        next(layer_patches(network, [stem], None, 4, "x"))


def test_number_of_examples(traced):
    """conv: 8 x 8 x 8, 12 x 4 x 4, 10 and 5 outputs."""
    layers, total = parameter_layers(traced("conv")), 512 + 192 + 10 + 5
    assert sample_size(layers, 1e-16) == math.ceil(3 * math.log(8 * 512 / (1e-16 / total)))
    assert log_factor(64, 9, 1e-16) == pytest.approx(2 * 3 * math.log(8 * 65 * 9 / 1e-16))


def test_layers_of_a_network(traced):
    assert list(parameter_layers(traced("matmul")).values()) == ["first.weight", "middle", "head.weight"]
    assert find_groups(traced("matmul")).groups
