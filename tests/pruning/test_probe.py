"""pruning.probe: trials find what the traced graph does not tell, however little it shows."""

import pytest
import torch
from torch import nn

from pruning import find_safe_groups, prune, trace

X = torch.zeros(2, 8)


class Scaled(nn.Module):
    """A branch whose code looks at the number of its channels, behind a small factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.a, self.b, self.c, self.d = nn.Linear(8, 12), nn.Linear(12, 5), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        branch = self.b(torch.relu(self.a(x)) / self.a.out_features)
        return self.d(torch.relu(self.c(x))) + self.factor * branch


@pytest.mark.parametrize("factor", [1, 1e-5])
def test_a_wrong_cut_as_small_as_the_rounding_of_single_precision(factor):
    torch.manual_seed(0)
    model = Scaled(factor)
    grouping = find_safe_groups(trace(model, X))
    assert [group.name for group in grouping.groups] == ["c"]
    assert any("a trial cut changes the result" in entry.reason for entry in grouping.frozen)
    assert prune(model, X, macs=0.7, criterion="magnitude").max_difference < 1e-9


class FixedBatch(nn.Module):
    """Two examples, no more."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)).view(2, -1))


def test_a_batch_size_written_out_beside_a_fresh_batch_norm():
    assert prune(FixedBatch(), torch.zeros(2, 3, 5, 5), criterion="magnitude").kept["conv"][0] < 8


class PositionBias(nn.Module):
    """A bias that a small network computes from a table, as Swin V2 does; it sees no input."""

    def __init__(self):
        super().__init__()
        self.a, self.d = nn.Linear(8, 12), nn.Linear(12, 5)
        self.bias = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 5))
        self.register_buffer("table", torch.linspace(-1, 1, 8).view(4, 2))

    def forward(self, x):
        return self.d(torch.relu(self.a(x))) + self.bias(self.table).mean(0)


def test_what_sees_no_input_is_frozen_without_a_trial():
    grouping = find_safe_groups(trace(PositionBias(), X))
    assert [group.name for group in grouping.groups] == ["a"]
    reasons = {(entry.tensor, entry.axis): entry.reason for entry in grouping.frozen}
    assert reasons["bias.0.weight", 0] == "summed by aten.linear in bias.2, which sees no input"
    assert "a trial cut" not in str(reasons)
    assert prune(PositionBias(), X, macs=0.6, criterion="magnitude").max_difference < 1e-9
