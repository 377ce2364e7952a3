"""pruning.probe: trial cuts on the networks of users, whatever their code does."""

import torch
from torch import nn

from pruning import prune


class FixedBatch(nn.Module):
    """Two examples, no more."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)).view(2, -1))


def test_a_batch_size_written_out_beside_a_fresh_batch_norm():
    assert prune(FixedBatch(), torch.zeros(2, 3, 5, 5), criterion="magnitude").kept["conv"][0] < 8
