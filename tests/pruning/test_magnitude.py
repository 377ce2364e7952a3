"""Golden values of group magnitude."""

import pytest
import torch
from torch import nn

from pruning import Magnitude, find_groups, trace


@pytest.fixture
def grouping():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].weight.data = torch.tensor([[3.0, -4.0], [0.0, 1.0], [2.0, 2.0]])
    model[0].bias.data.fill_(100.0)
    model[2].weight.data = torch.tensor([[12.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    return find_groups(trace(model, torch.ones(2, 2)))


@pytest.mark.parametrize(
    ("p", "scope", "expected"),
    [
        (2, "group", [13.0, 5**0.5, 3.0]),
        (1, "group", [19.0, 3.0, 5.0]),
        (2, "filter", [5.0, 1.0, 8**0.5]),
        (1, "filter", [7.0, 1.0, 4.0]),
    ],
)
def test_norms(grouping, p, scope, expected):
    scores = Magnitude(p, scope).score(grouping, None, nn.functional.cross_entropy)
    torch.testing.assert_close(scores["0"], torch.tensor(expected, dtype=torch.float64))


def test_a_residual_group_sums_over_its_layers(traced):
    grouping = find_groups(traced("resnet"))
    stream = next(group for group in grouping.groups if group.name == "conv1")
    tensors = dict(grouping.trace.model.named_parameters())
    weights = [m for m in stream.members if m.tensor.endswith("weight") and tensors[m.tensor].ndim > 1]
    by_hand = sum(tensors[m.tensor].double().movedim(m.axis, 0)[m.indices[3][0]].square().sum() for m in weights)
    scores = Magnitude().score(grouping, None, nn.functional.cross_entropy)
    torch.testing.assert_close(scores["conv1"][3], by_hand.sqrt().detach())
