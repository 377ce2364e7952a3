"""What `explain` says of networks whose groups are known by hand."""

import pytest
import torch
from torch import nn

import pruning
from pruning import Explanation


def explained(model: nn.Module, *shape: int) -> Explanation:
    example = torch.zeros(shape)
    grouping = pruning.find_safe_groups(pruning.trace(model, (example,)))
    return pruning.explain(grouping, pruning.macs_cost(grouping, pruning.count_macs(model, example)))


def test_a_chain() -> None:
    found = explained(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), 1, 4)
    [group] = found.groups
    assert (group.name, group.units, group.layers) == ("0", 8, ("0", "2"))
    assert group.share == pytest.approx(1 - 24 / 48)  # 4 x 4 + 4 x 2 of 4 x 8 + 8 x 2
    assert found.least == pytest.approx(6 / 48)
    assert {reason: [(f.tensor, f.axis, f.count) for f in entries] for reason, entries in found.frozen.items()} == {
        "network input": [("0.weight", 1, 4)],
        "network output": [("2.weight", 0, 2)],
    }


def test_what_half_of_a_group_saves_is_what_cutting_it_saves() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    example = torch.zeros(1, 3, 8, 8)
    whole = pruning.count_macs(model, example)
    grouping = pruning.find_safe_groups(pruning.trace(model, (example,)))
    for group in explained(model, *example.shape).groups:
        kept = {group.name: tuple(range(group.units // 2))}
        cut = pruning.Plan.from_kept(grouping, kept).apply(
            nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 2))
        )
        assert group.share == pytest.approx(1 - pruning.count_macs(cut, example) / whole)


def test_an_operation_that_freezes_is_named() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(nn.functional.pad(self.first(x), (1, 1)))

    [reason] = [r for r in explained(Padded(), 1, 4).frozen if "pad" in r]
    assert "aten.pad" in reason
