"""Networks whose structure is hard to prune right, by name."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning import Trace, trace
from pruning.testing import randomise

Factory = Callable[[], nn.Module]


class ConvNet(nn.Module):
    """Convolution, batch norm, activation, pooling, NCHW flatten with H*W repeats, dropout, two linears."""

    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            act or nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.Hardswish(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Linear(12 * 2 * 2, 10), nn.SiLU(), nn.Dropout(), nn.Linear(10, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class Block(nn.Module):
    """CIFAR residual block with option A shortcut: subsample, then pad channels with zeros on both sides."""

    def __init__(self, planes_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.pad = planes // 4 if planes != planes_in else 0

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad), "constant", 0)
        out += x
        return F.relu(out)


class CifarResNet(nn.Module):
    """ResNet of depth 6n + 2 with option A shortcuts (He et al. 2016, section 4.2)."""

    def __init__(self, n: int = 1, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        planes = width
        for stage in range(3):
            for i in range(n):
                blocks.append(Block(planes, width << stage, 2 if stage and not i else 1))
                planes = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(planes, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        x = F.avg_pool2d(x, x.size(3))
        return self.linear(x.view(x.size(0), -1))


class ConcatNet(nn.Module):
    """Two branches and a skip, concatenated, batch-normalised together, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1), nn.Conv2d(6, 7, 1)
        self.norm, self.merge = nn.BatchNorm2d(17), nn.Conv2d(17, 8, 1)
        self.head = nn.Linear(25, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = F.relu(self.norm(torch.cat([self.left(x), x, self.right(x)], 1)))
        z = torch.cat([self.merge(y), y], 1)
        return self.head(F.adaptive_avg_pool2d(z, 1).flatten(1))


class GroupedNet(nn.Module):
    """Depthwise with multiplier 2, many small groups, few large groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(16)
        self.many = nn.Conv2d(16, 24, 3, padding=1, groups=8)
        self.mix = nn.Conv2d(24, 16, 1)
        self.few = nn.Conv2d(16, 12, 3, groups=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.norm(self.depthwise(F.relu(self.stem(x)))))
        x = F.relu(self.few(F.relu(self.mix(F.silu(self.many(x))))))
        return self.head(x.mean((2, 3)))


class ChannelsLastNet(nn.Module):
    """permute -> flatten -> linear: channels are the fast axis of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.conv(x))).permute(0, 2, 3, 1).flatten(1))


class GateNet(nn.Module):
    """Squeeze-excite, a one-channel gate broadcast over channels, and a learnt scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)
        self.gate, self.scale = nn.Conv2d(8, 1, 1), nn.Parameter(torch.randn(1, 8, 1, 1))
        self.reduce, self.expand = nn.Linear(8, 4), nn.Linear(4, 8)
        self.head = nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.conv(x)) * self.scale
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = x * torch.sigmoid(self.gate(x))
        b, c, _, _ = x.shape
        x = x * self.expand(F.relu(self.reduce(x.mean((2, 3))))).view(b, c, 1, 1)
        return self.head(x).amax((2, 3))


class SelfResidualNet(nn.Module):
    """x + conv(x): the convolution's inputs and outputs are the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.norm(self.conv(x))
        return self.head(F.relu(x).sum((2, 3)))


class MatmulNet(nn.Module):
    """A raw parameter used by matrix product: no module, no size attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Linear(3 * 64, 9), nn.Parameter(torch.randn(9, 7))
        self.offset, self.head = nn.Parameter(torch.randn(7)), nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x.flatten(1)))
        return self.head(F.relu(x @ self.middle + self.offset))


class TiedNet(nn.Module):
    """One linear layer used twice, and a weight shared by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.loop = nn.Linear(192, 6), nn.Linear(6, 6)
        self.one, self.two, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 5)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x.flatten(1)))
        x = F.relu(self.loop(F.relu(self.loop(x))))
        return self.head(F.relu(self.two(F.relu(self.one(x)))))


FACTORIES: dict[str, Factory] = {
    "conv": ConvNet,
    "prelu": lambda: ConvNet(nn.PReLU(8)),
    "resnet": CifarResNet,
    "concat": ConcatNet,
    "grouped": GroupedNet,
    "nhwc": ChannelsLastNet,
    "gates": GateNet,
    "self-residual": SelfResidualNet,
    "matmul": MatmulNet,
    "tied": TiedNet,
}


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Six images [3, 8, 8] in fp64 with labels 0..4."""
    return torch.randn(6, 3, 8, 8).double(), torch.arange(6) % 5


@pytest.fixture
def build() -> Callable[[str], nn.Module]:
    """Name -> network with random weights and batch norms; equal for equal names."""

    def make(name: str) -> nn.Module:
        torch.manual_seed(11)
        return randomise(FACTORIES[name]())

    return make


@pytest.fixture(scope="session")
def traced() -> Callable[[str], Trace]:
    """Name -> trace of that network on [2, 3, 8, 8]; exported once per session, so do not modify it."""

    @cache
    def make(name: str) -> Trace:
        torch.manual_seed(11)
        return trace(randomise(FACTORIES[name]()), torch.randn(2, 3, 8, 8))

    return make


@pytest.fixture
def resnet20() -> nn.Module:
    torch.manual_seed(11)
    return randomise(CifarResNet(3, 16))


@pytest.fixture
def image() -> Tensor:
    return torch.randn(2, 3, 8, 8)
