"""Values that only change places: exactly where torch puts them, for any number of images, wherever the images are."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, capture, quantise


class Between(nn.Module):
    """A rearrangement of [N, 6, 4, 5] between two layers."""

    def __init__(self, move: Callable[[torch.Tensor], torch.Tensor], features: int) -> None:
        super().__init__()
        self.conv, self.move, self.head = nn.Conv2d(2, 6, 1), move, nn.Linear(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.move(self.conv(x)))


def through_the_second_axis(x: torch.Tensor) -> torch.Tensor:
    """Images second, as in nn.MultiheadAttention, merged with heads and split again."""
    tokens = x.flatten(2).permute(2, 0, 1).contiguous()
    heads = tokens.view(20, x.shape[0] * 3, 2).transpose(0, 1)
    return heads.view(x.shape[0], 3, 20, 2).permute(2, 0, 1, 3).reshape(20 * x.shape[0], 6).view(20, x.shape[0], 6)[4]


MOVES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int]] = {
    "permute": (lambda x: x.permute(0, 2, 3, 1), 6),
    "transpose": (lambda x: x.transpose(1, -1), 6),
    "flatten the middle": (lambda x: x.flatten(1, 2), 5),
    "flatten all": (lambda x: x.flatten(1), 120),
    "view": (lambda x: x.reshape(x.size(0), -1, 10), 10),
    "unflatten": (lambda x: x.unflatten(1, (2, 3)), 5),
    "squeeze and unsqueeze": (lambda x: x.unsqueeze(2).squeeze(2), 5),
    "select": (lambda x: x[:, 2], 5),
    "select last": (lambda x: x[..., -1], 4),
    "slice": (lambda x: x[:, 1:5:2, :, ::2], 3),
    "slice of features": (lambda x: x.flatten(1)[:, 3:50], 47),
    "chunk": (lambda x: x.chunk(3, 1)[1], 5),
    "uneven chunk": (lambda x: x.chunk(4, -1)[2], 1),
    "split": (lambda x: torch.split(x, [1, 2, 3], dim=1)[2], 5),
    "unbind": (lambda x: x.unbind(-1)[3], 4),
    "channel shuffle": (lambda x: x.view(x.shape[0], 2, 3, 4, 5).transpose(1, 2).reshape(x.shape[0], 6, 4, 5), 5),
    "expand": (lambda x: x[:, :1].expand(-1, 7, -1, -1), 5),
    "roll": (lambda x: torch.roll(x, (1, -2), (2, 3)), 5),
    "images second": (through_the_second_axis, 6),
    "length of images": (lambda x: x.permute(2, 0, 1, 3).reshape(4, len(x) * 2, 15).view(4, len(x), 30)[1], 30),
    "mean of tokens": (lambda x: x.flatten(2).transpose(1, 2).mean(1), 6),
    "mean of two axes": (lambda x: x.mean((1, 3)), 4),
    "cat of tokens": (lambda x: torch.cat([x.flatten(2), x.flatten(2)], 2).transpose(1, 2), 6),
    "single precision": (lambda x: x.to(torch.float32).type_as(x).float().transpose(1, 3), 6),
    "stacked heads": (lambda x: torch.cat(x.chunk(2, 1), 3).permute(0, 3, 1, 2), 4),
}


@pytest.mark.parametrize("name", list(MOVES))
def test_values_land_where_torch_puts_them(name: str) -> None:
    model, images = Between(*MOVES[name]), torch.randn(6, 2, 4, 5)
    network = quantise(model, [images])
    with torch.no_grad():
        wanted = model(images)
        for count in (1, 2, 5):
            with network.using(Arithmetic.FLOAT):
                assert torch.allclose(network(images[:count]), wanted[:count], atol=1e-5)
        integer = network(images)
        assert (integer - wanted).std() < 0.03 * wanted.std()
        assert torch.equal(network(images[2:5]), integer[2:5])


def test_codes_are_not_touched_by_moves() -> None:
    model, images = Between(through_the_second_axis, 6), torch.randn(6, 2, 4, 5)
    network = quantise(model, [images])
    with torch.no_grad():
        moved = through_the_second_axis(network.layers()["conv"](images_on_grid(network, images)))
        assert torch.equal(network(images), network.layers()["head"](moved))
    assert list(network.quantizers) == ["q_@input", "q_conv", "q_head"]


def images_on_grid(network, images: torch.Tensor) -> torch.Tensor:
    first = next(network.operations())
    return first(images)


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda x: x[:1], "takes some of axis 0"),
        (lambda x: x[0], "takes some of axis 0"),
        (lambda x: x.chunk(2, 0)[0], "takes some of axis 0"),
        (lambda x: torch.roll(x, 1, 0), "takes some of axis 0"),
        (lambda x: torch.cat([x, x], 0), "joins axis 0 .* which holds the images"),
        (lambda x: x.mean((0, 1)), r"averages axes \[0, 1\]"),
        (lambda x: torch.topk(x, 2, 1)[0], "topk"),
        (lambda x: x.double(), r"aten\.to\.dtype .*expected torch.float32"),
    ],
)
def test_images_may_not_meet(move: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capture(Between(move, 5), torch.randn(2, 2, 4, 5))


def test_dead_code_needs_no_rule() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.sort(x, 1)
            return self.layer(F.dropout(x, 0.5, self.training))

    assert list(capture(Unused(), torch.randn(2, 3)).layers()) == ["layer"]
