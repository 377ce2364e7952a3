"""Linear maps of readers: transposed convolutions with the batch norm behind them, and i-SpaSP through one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, trace
from pruning.consumers import consumers
from pruning.criteria import ISpasp
from pruning.criteria.i_spasp import block_correlation
from pruning.testing import randomise


class Decoder(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.stem, self.up = nn.Conv2d(2, 6, 1), nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=groups)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.up(F.relu(self.stem(x))))))


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_and_batch_norm(groups):
    """Differences of the real layers, for all channels and for some."""
    torch.manual_seed(0)
    model = randomise(Decoder(groups)).double().eval()
    grouping = find_groups(trace(model, torch.randn(2, 2, 5, 5).double()))
    nodes = {node.name: node for node in grouping.trace.program.graph.nodes}
    site = next(name for name, ((_, units),) in grouping.sites.items() if int(units[0]) == grouping.start("stem"))
    (read,) = consumers(grouping, nodes[site], 1)
    x = torch.randn(3, 6, 5, 5).double()
    with torch.no_grad():
        expected = model.norm(model.up(x)) - model.norm(model.up(torch.zeros_like(x)))
        torch.testing.assert_close(read(x), expected)
        some = torch.tensor([1, 4])
        x[:, [0, 2, 3, 5]] = 0
        torch.testing.assert_close(read(x[:, some], some), read(x))
    assert consumers(grouping, nodes[site], 2) == []


@pytest.mark.parametrize("groups", [1, 2])
def test_i_spasp_through_a_transposed_convolution(groups):
    """K[c, c'] = <second(1_c), second(H_c')> with the real layers; a unit of the grouped one is a pair of channels."""
    torch.manual_seed(0)
    model, x = randomise(Decoder(groups)).double().eval(), torch.randn(4, 2, 5, 5).double()
    grouping = find_groups(trace(model, x))
    nodes = {node.name: node for node in grouping.trace.program.graph.nodes}
    (site,) = (name for name, ((_, units),) in grouping.sites.items() if int(units[0]) == grouping.start("stem"))
    (read,), units = consumers(grouping, nodes[site], 1), torch.arange(6) % (6 // groups)
    with torch.no_grad():
        total = F.relu(model.stem(x)).sum(0, keepdim=True)
        second = [
            [
                model.norm(model.up(t * (units == u)[:, None, None])) - model.norm(model.up(0 * t))
                for u in units.unique()
            ]
            for t in (torch.ones_like(total), total)
        ]
        expected = torch.stack([torch.stack([(one * h).sum() for h in second[1]]) for one in second[0]])
    torch.testing.assert_close(block_correlation(read, total, 1, units, 6 // groups), expected)
    order = ISpasp().order(grouping, [(x, None)], lambda output, target: output.sum())
    assert {name for name, _ in order} == {group.name for group in grouping.groups}
