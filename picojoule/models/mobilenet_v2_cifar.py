"""MobileNetV2 (Sandler et al., arXiv:1801.04381) for 32x32 images.

The stem and the second stage keep the size (stride 1 in place of 2), so that three halvings are left and the head sees
4x4 pixels. Everything else is as published, no dropout.
"""

from torch import Tensor, nn

from picojoule.models.registry import register_model

STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first one. The second stage's stride was 2."""
STEM, HEAD = 32, 1280


def _conv_bn(channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(channels)]


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow by a 1x1 convolution without activation."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        """Args:
        channels_in: of the input.
        channels: of the output.
        stride: of the filter; with 1 and equal channels the input is added.
        expansion: wide channels per channel of the input; 1: nothing is widened.
        """
        super().__init__()
        wide = channels_in * expansion
        widen = [*_conv_bn(channels_in, wide, 1), nn.ReLU6()] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen, *_conv_bn(wide, wide, 3, stride, wide), nn.ReLU6(), *_conv_bn(wide, channels, 1)
        )
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] -> [N, C, H / stride, W / stride]."""
        return x + self.conv(x) if self.adds else self.conv(x)


@register_model("mobilenet_v2_cifar", input_shape=(3, 32, 32))
class CifarMobileNetV2(nn.Module):
    """2,236,682 parameters, 88.0 million multiplications."""

    def __init__(self, num_classes: int = 10, channels_in: int = 3) -> None:
        """Args:
        num_classes: class scores.
        channels_in: of the images.
        """
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(channels_in, STEM, 3), nn.ReLU6())
        blocks, wide = [], STEM
        for expansion, channels, count, stride in STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(wide, channels, 1 if index else stride, expansion))
                wide = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*_conv_bn(wide, HEAD, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(HEAD, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C_in, 32, 32] -> class scores float32 [N, num_classes]."""
        x = self.head(self.blocks(self.stem(x)))
        return self.linear(self.pool(x).flatten(1))
