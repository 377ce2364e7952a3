"""VGG16 with batch normalisation for 32x32 images: 13 convolutions and one linear layer.

Configuration D of Simonyan and Zisserman (arXiv:1409.1556) in the form common for CIFAR: each stage ends in a pooling,
five of them bring 32x32 pixels to one, and one linear layer stands for the three of 25088, 4096 and 4096 inputs.
"""

from torch import Tensor, nn

from picojoule.models.registry import register_model

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels, and how many convolutions have them."""


@register_model("vgg16_bn_cifar", input_shape=(3, 32, 32))
class CifarVGG16(nn.Module):
    """14,724,042 parameters, 313.2 million multiplications."""

    def __init__(self, num_classes: int = 10, channels_in: int = 3) -> None:
        """Args:
        num_classes: class scores.
        channels_in: of the images.
        """
        super().__init__()
        modules: list[nn.Module] = []
        for channels, count in STAGES:
            for _ in range(count):
                modules += [
                    nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                ]
                channels_in = channels
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        self.linear = nn.Linear(channels_in, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C_in, 32, 32] -> class scores float32 [N, num_classes]."""
        return self.linear(self.features(x).flatten(1))
