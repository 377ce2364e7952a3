"""The CIFAR-10 residual networks of He et al. (arXiv:1512.03385, section 4.2): 6n + 2 layers, shortcut option A.

Three stages of n blocks with 16, 32 and 64 channels. Where the size halves, the shortcut takes every second pixel and
pads the channels with zeros; it has no weights. Names of the parameters are those of the published weights
(github.com/akamaster/pytorch_resnet_cifar10, BSD-2-Clause).
"""

import functools

import torch.nn.functional as F
from torch import Tensor, nn

from picojoule.models.registry import PublishedWeights, register_model

_URL = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/"
_SOURCE = "github.com/akamaster/pytorch_resnet_cifar10"
# Measured on all 10,000 test images with the files below.
_PUBLISHED = {
    20: PublishedWeights(_URL + "resnet20-12fca82f.th", _SOURCE, "BSD-2-Clause", 91.73),
    56: PublishedWeights(_URL + "resnet56-4bfd9763.th", _SOURCE, "BSD-2-Clause", 93.39),
}


class SubsampledShortcut(nn.Module):
    """Option A: every second pixel, channels padded with zeros in equal parts before and after."""

    def __init__(self, extra_channels: int) -> None:
        """Args:
        extra_channels: zero channels to add in all.
        """
        super().__init__()
        self.before = extra_channels // 2
        self.after = extra_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C + extra, ceil(H / 2), ceil(W / 2)]."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        """Args:
        channels_in: of the input.
        channels: of the output.
        stride: of the first convolution; 2 halves the size.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        is_plain = stride == 1 and channels_in == channels
        self.shortcut = nn.Identity() if is_plain else SubsampledShortcut(channels - channels_in)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] -> [N, C, H / stride, W / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """ResNet for 32x32 images."""

    def __init__(self, blocks: int, num_classes: int = 10, channels_in: int = 3) -> None:
        """Args:
        blocks: in each of the three stages.
        num_classes: class scores.
        channels_in: of the images.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(blocks, 16, 16, 1)
        self.layer2 = self._stage(blocks, 16, 32, 2)
        self.layer3 = self._stage(blocks, 32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(blocks: int, channels_in: int, channels: int, stride: int) -> nn.Sequential:
        first = BasicBlock(channels_in, channels, stride)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C_in, 32, 32] -> class scores float32 [N, num_classes]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.pool(x).flatten(1))


for _depth in (8, 14, 20, 32, 44, 56):
    register_model(f"resnet{_depth}", input_shape=(3, 32, 32), weights=_PUBLISHED.get(_depth))(
        functools.partial(CifarResNet, (_depth - 2) // 6)
    )
