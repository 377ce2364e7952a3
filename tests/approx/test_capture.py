"""From the user's module to quantised operations: what is fused, what is refused and by what name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, capture, quantise
from approx.operations import QuantClamp, QuantPad, QuantSlice


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.b, self.c = nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.Conv2d(12, 6, 1)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norm(self.a(x)))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        y = F.relu(self.b(x) + shortcut)
        y = torch.cat([y, F.max_pool2d(x, 3, 2, 1)], 1)
        y = F.avg_pool2d(F.relu(self.c(y)), 2)
        return self.head(self.drop(y).flatten(1))


def model() -> nn.Module:
    made = Residual()
    with torch.no_grad():
        made.norm.running_mean.uniform_(-0.2, 0.2)
        made.norm.running_var.uniform_(0.5, 2.0)
        made.norm.weight.uniform_(0.5, 2.0)
    return made.eval()


def test_float_arithmetic_is_the_user_s_network() -> None:
    images, original = torch.randn(8, 1, 8, 8), model()
    before = copy.deepcopy(original.state_dict())
    captured = capture(original, images)
    assert torch.allclose(captured(images), original(images), atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items())


def test_names_are_the_user_s_and_everything_is_fused() -> None:
    captured = capture(model(), torch.randn(2, 1, 8, 8))
    assert list(captured.layers()) == ["a", "b", "c", "head"]
    assert captured.layers()["a"].cap == 6.0 and captured.layers()["b"].cap is None
    kinds = [type(op) for op in captured.operations()]
    assert QuantPad in kinds and QuantSlice in kinds and QuantClamp not in kinds


@pytest.mark.parametrize("arithmetic", [Arithmetic.FAKE, Arithmetic.INTEGER])
def test_eight_bits_are_close_to_float(arithmetic: Arithmetic) -> None:
    images, original = torch.randn(64, 1, 8, 8), model()
    quantised = quantise(original, images.split(16)).use(arithmetic)
    wanted = original(images)
    assert (quantised(images) - wanted).std() < 0.05 * wanted.std()


def test_fake_and_integer_agree_where_products_are_exact() -> None:
    images = torch.randn(16, 1, 8, 8)
    quantised = quantise(model(), [images])
    scale = float(list(quantised.operations())[-1].output.scale)
    difference = quantised.use(Arithmetic.FAKE)(images) - quantised.use(Arithmetic.INTEGER)(images)
    assert difference.abs().median() < 20 * scale


def test_a_relu_whose_input_is_read_elsewhere_is_not_fused() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            return self.b(F.relu(y) + y).flatten(1)

    images, original = torch.randn(8, 1, 4, 4), Both()
    quantised = quantise(original, [images])
    assert any(isinstance(op, QuantClamp) for op in quantised.operations())
    assert torch.allclose(quantised.use(Arithmetic.FLOAT)(images), original(images), atol=1e-5)
    assert (quantised.use(Arithmetic.INTEGER)(images) - original(images)).abs().max() < 0.1


class Refused(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.conv, self.norm = what, nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        match self.what:
            case "sort":
                y = torch.sort(y, 1)[0]
            case "norm":
                y = self.norm(F.relu(y))
            case "in place":
                z = y + 1.0 * x
                y = F.relu(y, inplace=True) + z
            case "branch":
                y = y if float(y.sum()) > 0 else -y
            case "images":
                y = y[:1]
        return y.flatten(1)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("sort", r"aten\.sort\.default .*cannot be quantised: no rule"),
        ("norm", r"aten\.batch_norm\.default .*does not directly follow"),
        ("branch", "cannot be exported"),
        ("images", r"aten\.slice\.Tensor .*takes some of axis 0 .* which holds the images"),
    ],
)
def test_what_is_refused_is_named(what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capture(Refused(what), torch.randn(2, 1, 4, 4))


def test_a_wrong_image_size_is_refused() -> None:
    captured = capture(model(), torch.randn(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"inputs of shape \('N', 1, 8, 8\), got \(3, 1, 9, 9\)"):
        captured(torch.randn(3, 1, 9, 9))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_inputs_that_are_not_numbers_are_refused(broken: float) -> None:
    images = torch.randn(4, 3, 8, 8)
    network = quantise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)), [images])
    images[2, 1, 3, 4] = broken
    with pytest.raises(ValueError, match="expected finite inputs of the network, got NaN or infinity"):
        network(images)
    with network.using(Arithmetic.FLOAT):
        assert not network(images)[2].isfinite().all()
    assert network(images.nan_to_num(0, 3e38, -3e38)).isfinite().all()
    assert network(torch.full((2, 3, 8, 8), 3e38)).isfinite().all()  # though their sum is infinite


def test_empty_and_broken_calibration() -> None:
    with pytest.raises(ValueError, match="yielded nothing"):
        quantise(model(), [])
    with pytest.raises(ValueError, match="NaN or infinite"):
        quantise(model(), [torch.full((2, 1, 8, 8), float("nan"))])


def test_a_reload_gives_the_same_integers() -> None:
    images, original = torch.randn(16, 1, 8, 8), model()
    quantised = quantise(original, [images])
    again = capture(original, images)
    again.load_state_dict(quantised.state_dict())
    again.use(Arithmetic.INTEGER)
    assert torch.equal(again(images), quantised(images))
    assert torch.equal(copy.deepcopy(quantised)(images), quantised(images))


class Aliased(nn.Module):
    """Changes a tensor in place through an alias of it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.conv = nn.Dropout(), nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        h = self.drop(x)
        F.relu(h, inplace=True)
        return self.conv(h + x)


def test_a_change_in_place_through_an_alias_is_noticed() -> None:
    with pytest.raises(ValueError, match="differs from it by .* in-place"):
        capture(Aliased(), torch.randn(2, 2, 4, 4))


class Awkward(nn.Module):
    """Layers named as attributes of torch's own classes, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.input, self.graph, self.values = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.values(self.graph(self.graph(self.input(x))).flatten(1))


def test_awkward_names_and_repeated_layers() -> None:
    images = torch.randn(4, 1, 4, 4)
    quantised = quantise(Awkward(), [images])
    assert list(quantised.layers()) == ["input", "graph", "graph_2", "values"]
    assert list(quantise(nn.Linear(4, 2), [torch.randn(3, 4)]).layers()) == ["layer"]
    assert copy.deepcopy(quantised)(images).shape == (4, 3)


def test_double_precision_and_training_mode_do_not_matter() -> None:
    original = model().double().train()
    quantised = quantise(original, [torch.randn(4, 1, 8, 8, dtype=torch.float64)])
    assert quantised(torch.randn(4, 1, 8, 8)).dtype == torch.float32 and original.training
