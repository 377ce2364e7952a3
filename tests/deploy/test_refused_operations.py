"""Programs hold two-dimensional networks; everything else that can be simulated is refused in one line, by name."""

import pytest
import torch
from torch import nn

from approx import quantise
from deploy.build import build


@pytest.mark.parametrize(
    ("layers", "size", "message"),
    [
        ([nn.Conv1d(2, 3, 3)], (8,), r"'0' \(QuantConv, \[8, 2\] -> \[6, 3\]\)"),
        ([nn.Conv3d(2, 3, 2)], (3, 4, 5), r"'0' \(QuantConv, \[3, 4, 5, 2\] -> \[2, 3, 4, 3\]\)"),
        ([nn.Conv2d(2, 3, 2), nn.ConvTranspose2d(3, 2, 2)], (4, 4), r"'1' \(QuantConvTranspose, \[3, 3, 3\]"),
        ([nn.MaxPool1d(2)], (8,), r"'max_pool1d' \(QuantMaxPool, \[8, 2\] -> \[4, 2\]\)"),
    ],
    ids=["1-D", "3-D", "transposed", "pooling"],
)
def test_refused_by_name(layers: list[nn.Module], size: tuple[int, ...], message: str) -> None:
    model, images = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(2)), torch.randn(4, 2, *size)
    model(images)
    network = quantise(model.eval(), [images])
    with pytest.raises(ValueError, match=rf"operation {message}.* has no form in an integer program: .*not deployed"):
        build(network)
