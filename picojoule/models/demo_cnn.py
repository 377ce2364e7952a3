"""The demo's network: a small residual CNN for 1x8x8 digits."""

from torch import Tensor, nn

from picojoule.models.registry import register_model


def _conv_bn(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))


@register_model("demo-cnn", input_shape=(1, 8, 8))
class DemoCNN(nn.Module):
    """Five convolutions (two of them in a residual block), two poolings, one linear layer; 21,450 parameters."""

    def __init__(self, num_classes: int = 10, channels_in: int = 1, width: int = 24) -> None:
        """Args:
        num_classes: class scores.
        channels_in: of the images.
        width: channels of the residual block.
        """
        super().__init__()
        self.stem = _conv_bn(channels_in, 16)
        self.widen = _conv_bn(16, width)
        self.block1 = _conv_bn(width, width)
        self.block2 = _conv_bn(width, width)
        self.head = _conv_bn(width, 32)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C_in, 8, 8] -> class scores float32 [N, num_classes]."""
        x = self.relu(self.widen(self.relu(self.stem(x))))
        x = self.relu(x + self.block2(self.relu(self.block1(x))))
        x = self.relu(self.head(self.pool(x)))
        return self.linear(self.average(x).flatten(1))
