"""Activations where units end, sums per unit, and the layers that make units."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, trace
from pruning.activations import activations, sum_per_unit
from pruning.gates import gated
from pruning.producers import makers, producers, unit_axes

NAMES = ["conv", "prelu", "resnet", "concat", "grouped", "nhwc", "gates", "self-residual", "matmul", "tied"]


def test_activations_are_those_of_the_network(build, traced, image):
    model, grouping = build("conv").eval(), find_groups(traced("conv"))
    found = activations(grouping.trace, (image,), grouping.sites)
    assert set(found) == set(grouping.sites)
    with torch.no_grad():
        torch.testing.assert_close(found["max_pool2d"], model.features[:4](image))
        torch.testing.assert_close(found["flatten"], model.features(image).flatten(1))
    assert not any(value.requires_grad for value in found.values())
    assert activations(grouping.trace, (image,), ()) == {}


def test_sums_per_unit_by_hand():
    value = torch.arange(12.0).reshape(2, 3, 2)
    units = torch.tensor([2, -1, 0])
    assert sum_per_unit(value, 1, units, 4).tolist() == [4 + 5 + 10 + 11, 0, 0 + 1 + 6 + 7, 0]
    assert sum_per_unit(value, 2, torch.tensor([1, 1]), 2).tolist() == [0, 66]
    assert sum_per_unit(value, 1, units, 4).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
def test_every_unit_is_made_somewhere(traced, name):
    grouping = find_groups(traced(name))
    for fold in (True, False):
        made = torch.cat([units for ((_, units),) in producers(grouping, fold=fold).values()])
        assert set(made.tolist()) - {-1} == set(range(grouping.units))


def test_makers_of_a_stream_and_of_a_depthwise_unit(traced):
    def layers(name):
        grouping = find_groups(traced(name))
        weights, made = grouping.trace.tensors(), makers(grouping)
        return {
            group.name: [
                weights[layer.args[1].name].removesuffix(".weight")
                for layer, units in made.items()
                if grouping.start(group.name) in units
            ]
            for group in grouping.groups
        }

    assert layers("resnet")["conv1"] == ["conv1", *(f"blocks.{i}.conv2" for i in range(3))]
    assert layers("resnet")["blocks.1.conv1"] == ["blocks.1.conv1"]
    assert layers("grouped") == {"stem": ["stem", "depthwise", "many"], "mix": ["mix"], "few": ["few"]}
    assert layers("matmul") == {"first": ["first"], "middle": ["middle"]}


@pytest.mark.parametrize("fold", [True, False])
def test_a_factor_where_a_unit_is_made_scales_its_filters(build, image, fold):
    """Half of unit 3: half of its filter, or with the batch norm folded in, half of γ and β."""
    model = build("conv").double().eval()
    x = image.double()
    grouping = find_groups(trace(model, x))
    factors = torch.ones(grouping.units).double()
    factors[grouping.start("features.4") + 3] = 0.5
    (found,) = gated(grouping, (x,), factors, sites=producers(grouping, fold=fold))
    layer = model.features[5 if fold else 4]
    layer.weight.data[3] *= 0.5
    layer.bias.data[3] *= 0.5
    torch.testing.assert_close(found, model(x))


def test_a_batch_norm_read_by_itself_only_is_folded():
    """Not folded: a norm of a layer that something else reads too."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.conv(x)
            return self.head(F.relu(self.norm(x)) + x)

    grouping = find_groups(trace(Both(), torch.randn(2, 1, 3, 3)))
    assert producers(grouping).keys() == producers(grouping, fold=False).keys()


def test_unit_axes_cover_members(traced):
    grouping = find_groups(traced("concat"))
    axes = unit_axes(grouping)
    start = grouping.start("left")
    assert axes["left.weight", 0].tolist() == list(range(start, start + 4))
    assert axes["norm.weight", 0][:4].tolist() == list(range(start, start + 4))
    assert ("head.weight", 0) not in axes
