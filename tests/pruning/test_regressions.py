"""Defects found in a well-known peer (papers: structured_pruning, section 13): each network prunes right here."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, find_safe_groups, prune, trace
from pruning.testing import randomise


class PixelShuffleNet(nn.Module):
    """Super-resolution head: four channels make one of twice the size."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
        self.c = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.c(F.relu(self.up(self.b(F.relu(self.a(x))))))


class ShuffleUnit(nn.Module):
    """Grouped convolutions with a channel shuffle between (Zhang et al. 2018, figure 2b)."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 12, 1, groups=2)
        self.shuffle, self.second = nn.ChannelShuffle(2), nn.Conv2d(12, 12, 1, groups=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + self.second(self.shuffle(F.relu(self.first(x)))))
        return self.head(x.mean((2, 3)))


class WrittenOut(nn.Module):
    """`view(-1, 32)` fixes the channels in front of it, and only those."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 2), nn.Linear(32, 5)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))).view(-1, 32))


@pytest.mark.parametrize("name", ["nhwc", "matmul", "gates", "tied"])
def test_networks_a_peer_cuts_wrong_or_refuses(build, image, name):
    result = prune(build(name), image, criterion="magnitude", macs=0.5)
    assert result.max_difference < 1e-9
    assert result.macs_after <= 0.5 * result.macs_before


@pytest.mark.parametrize("factory", [PixelShuffleNet, ShuffleUnit])
def test_shuffles(image, factory):
    torch.manual_seed(1)
    result = prune(factory(), image, criterion="magnitude", macs=0.5)
    assert result.max_difference < 1e-9
    assert result.macs_after <= 0.5 * result.macs_before


def test_a_size_written_out_freezes_its_channels_by_name(image):
    result = prune(WrittenOut(), image, criterion="magnitude", macs=0.8)
    assert set(result.kept) == {"a"}
    (reason,) = [entry.reason for entry in result.frozen if entry.tensor == "b.weight" and entry.axis == 0]
    assert re.search("fixed in the network's code", reason)


def test_tracing_leaves_every_mode_as_it_was(build, image):
    model = build("conv").train()
    model.features[1].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    statistics = copy.deepcopy(dict(model.named_buffers()))
    find_safe_groups(trace(model, image))
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())


def test_one_network_leaves_nothing_behind_for_the_next(build, image):
    """Pruning another network in between, with other options, changes neither plan nor groups."""
    alone = prune(build("resnet"), image, criterion="magnitude", macs=0.6)
    prune(build("concat"), image, criterion="magnitude", macs=0.5, ignore=["stem"])
    again = prune(build("resnet"), image, criterion="magnitude", macs=0.6)
    assert alone.plan == again.plan and alone.frozen == again.frozen
    assert find_groups(trace(build("resnet"), image)).forks == {}


def test_readings_of_one_network_do_not_reach_another(image):
    """`view` that keeps whole parts in one network, slots in the other."""

    class Parts(nn.Module):
        def __init__(self, slots):
            super().__init__()
            self.a, self.b, self.slots = nn.Conv2d(3, 12, 1), nn.Conv2d(4 if slots else 3, 5, 1), slots

        def forward(self, x):
            x = self.a(x)
            n, c, h, w = x.shape
            return self.b(x.view(n, 3, c // 3, h, w).sum(1) if self.slots else x.view(n, c // 4, 4, h, w).sum(2))

    for slots, units in ((True, 4), (False, 3), (True, 4)):
        grouping = find_safe_groups(trace(randomise(Parts(slots)), image))
        assert [(group.name, group.size) for group in grouping.groups] == [("a", units)]
