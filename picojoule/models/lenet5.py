"""LeNet-5 for MNIST with batch normalisation: the network of the AGN tutorial (papers/approximate_networks.md §1)."""

from torch import Tensor, nn

from picojoule.models.registry import register_model


@register_model("lenet5", input_shape=(1, 28, 28))
class LeNet5(nn.Module):
    """Two 5x5 convolutions, each with a pooling, and three linear layers; 61,932 parameters."""

    def __init__(self, num_classes: int = 10, channels_in: int = 1) -> None:
        """Args:
        num_classes: class scores.
        channels_in: of the images.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 6, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 16, 5, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.linear1 = nn.Linear(400, 120, bias=False)
        self.bn3 = nn.BatchNorm1d(120)
        self.linear2 = nn.Linear(120, 84, bias=False)
        self.bn4 = nn.BatchNorm1d(84)
        self.linear3 = nn.Linear(84, num_classes)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C_in, 28, 28] -> class scores float32 [N, num_classes]."""
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.pool(self.relu(self.bn2(self.conv2(x))))
        x = self.relu(self.bn3(self.linear1(x.flatten(1))))
        return self.linear3(self.relu(self.bn4(self.linear2(x))))
