"""Networks over sequences, videos and images with a decoder: the whole way from capture to correction."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import (
    Arithmetic,
    Assignment,
    Choice,
    QuantisedNetwork,
    capture,
    correct,
    explain_kernels,
    quantise,
    trace,
)
from approx.operations import QuantAvgPool, QuantClamp, QuantMaxPool
from multipliers import Library, generate


class Keywords(nn.Sequential):
    """Keyword spotting: a strided stem, depthwise separable blocks over time, pooled at the end."""

    def __init__(self) -> None:
        super().__init__(
            nn.ConstantPad1d((3, 1), 0.0),
            nn.Conv1d(4, 12, 5, stride=2, bias=False),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Conv1d(12, 12, 4, padding="same", groups=12, dilation=3),
            nn.Conv1d(12, 16, 1),
            nn.BatchNorm1d(16),
            nn.ReLU6(),
            nn.MaxPool1d(3, 2, 1),
            nn.AvgPool1d(2),
            nn.Conv1d(16, 16, 3, padding="valid", groups=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(16, 5),
        )


class Video(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv3d(2, 8, 3, padding=1, bias=False), nn.BatchNorm3d(8)
        self.depthwise = nn.Conv3d(8, 8, (2, 3, 3), (2, 1, 1), padding=(0, 1, 1), groups=8)
        self.same, self.head = nn.Conv3d(8, 8, (2, 1, 2), padding="same"), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool3d(F.relu(self.norm(self.stem(x))), (1, 2, 2))
        x = F.relu(self.depthwise(x))
        x = F.relu(self.same(x) + x)
        return self.head(F.avg_pool3d(x, 2).mean((2, 3, 4)))


class Segmentation(nn.Module):
    """Encoder and decoder with a skip connection; a class for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.up1, self.norm = nn.ConvTranspose2d(16, 8, 2, 2, bias=False), nn.BatchNorm2d(8)
        self.up2 = nn.ConvTranspose2d(16, 4, 4, 2, 1, groups=2)
        self.classes = nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = F.relu(self.down1(x))
        coarse = F.relu(self.norm(self.up1(F.relu(self.down2(fine)))))
        return self.classes(F.relu(self.up2(torch.cat([fine, coarse], 1))))


SHAPES = {Keywords: (4, 40), Video: (2, 4, 6, 6), Segmentation: (3, 8, 12)}
LAYERS = {
    Keywords: ["1", "4", "5", "10", "14"],
    Video: ["stem", "depthwise", "same", "head"],
    Segmentation: ["down1", "down2", "up1", "up2", "classes"],
}


def model(kind: type[nn.Module]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    made = kind()
    for norm in made.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.uniform_(norm.weight, 0.5, 2.0)
    return made.eval(), torch.randn(16, *SHAPES[kind]) + 0.3


@pytest.fixture(scope="module", params=SHAPES, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[nn.Module]:
    return request.param


def approximate(network: QuantisedNetwork) -> QuantisedNetwork:
    library = Library([generate("mul8u_bam_h2v6")])
    return network.assign(Assignment({"*": Choice("mul8u_bam_h2v6")}), library)


def test_captured_fused_and_close_to_float(kind: type[nn.Module]) -> None:
    original, images = model(kind)
    captured = capture(original, images)
    assert list(captured.layers()) == LAYERS[kind]
    assert not any(isinstance(op, QuantClamp) for op in captured.operations())
    wanted = original(images)
    assert torch.allclose(captured(images), wanted, atol=1e-5)
    network = captured.calibrate([images])
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        got = network.use(arithmetic)(images)
        assert got.shape == wanted.shape and (got - wanted).std() < 0.06 * wanted.std()


def test_every_result_lies_on_its_grid(kind: type[nn.Module]) -> None:
    """Integer arithmetic hands over codes: reals of a grid, whatever the layout of the axes."""
    original, images = model(kind)
    network = approximate(quantise(original, [images]))
    seen = []

    def check(operation: nn.Module, _: object, result: torch.Tensor) -> None:
        q = operation.output
        codes = result.double() / q.scale + q.zero_point
        assert (codes - codes.round()).abs().max() < 1e-2 and codes.min() > q.bounds[0] - 0.5
        assert codes.max() < q.bounds[1] + 0.5
        seen.append(operation.label)

    for operation in network.operations():
        operation.register_forward_hook(check)
    with torch.no_grad():
        network(images)
    assert len(seen) > len(LAYERS[kind])


def test_circuits_correction_trace_and_kernels(kind: type[nn.Module]) -> None:
    original, images = model(kind)
    network = quantise(original, [images])
    exact = network(images)
    traces = trace(network, [images], patches=20)
    assert list(traces) == LAYERS[kind]
    for name, layer in network.layers().items():
        found = traces[name]
        assert found.patches.shape == (layer.groups, 20, layer.fan_in) and found.macs > 0
    approximate(network)
    error = (network(images) - exact).std()
    assert 0 < (correct(network, images)(images) - exact).std() < error
    for row in explain_kernels(network, images[:2]):
        assert row.path and row.predicted_ms > 0 and row.measured_ms > 0


def test_trains_in_integer_arithmetic(kind: type[nn.Module]) -> None:
    original, images = model(kind)
    network, targets = approximate(quantise(original, [images])), original(images).detach()
    before = F.mse_loss(network(images), targets)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(12):
        optimiser.zero_grad()
        F.mse_loss(network(images), targets).backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert F.mse_loss(network(images), targets) < 0.8 * before


def test_graphs_hold_the_integers_for_any_batch(kind: type[nn.Module]) -> None:
    original, images = model(kind)
    network = approximate(quantise(original, [images]))
    with torch.no_grad():
        dynamic = {"x": {0: torch.export.Dim("batch")}}
        exported = torch.export.export(network, (images,), dynamic_shapes=dynamic).module()
        for batch in (images, images[:3]):
            assert torch.equal(exported(batch), network(batch))


def test_one_image_is_like_many(kind: type[nn.Module]) -> None:
    original, images = model(kind)
    network = approximate(quantise(original, [images]))
    with torch.no_grad():
        assert torch.equal(torch.cat([network(image[None]) for image in images[:3]]), network(images)[:3])


class One(nn.Module):
    """A single operation behind a convolution."""

    def __init__(self, axes: int, operation: nn.Module) -> None:
        super().__init__()
        self.conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](1, 2, 1)
        self.operation = operation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operation(self.conv(x))


@pytest.mark.parametrize(
    ("axes", "operation", "message"),
    [
        (1, nn.MaxPool1d(2, ceil_mode=True), "dilation or ceil_mode"),
        (3, nn.AvgPool3d(2, divisor_override=3), "divisor_override"),
        (1, nn.AvgPool1d(3, 1, 1, count_include_pad=False), "count_include_pad"),
        (1, nn.AdaptiveAvgPool1d(3), r"\(8,\) does not divide into \(3,\)"),
        (1, nn.CircularPad1d(1), "mode 'circular'"),
        (1, nn.ConstantPad1d((-1, 0), 0.0), "only non-negative padding"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_is_refused_is_named(axes: int, operation: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=rf"cannot be quantised: .*{message}"):
        capture(One(axes, operation), torch.randn(2, 1, *[8] * axes))


def test_batch_norm_over_another_axis_is_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(6))
    with pytest.raises(ValueError, match=r"normalises axis 1 of \[N, 6, 4\]"):
        capture(network, torch.randn(2, 6, 4))


@pytest.mark.parametrize(
    ("axes", "pool"),
    [(1, nn.AvgPool1d(3, 2, 1)), (2, nn.AvgPool2d((3, 2), 2, (1, 0))), (3, nn.AvgPool3d((1, 2, 3), 1, (0, 1, 1)))],
)
def test_average_pooling_is_the_rounded_sum(axes: int, pool: nn.Module) -> None:
    images = torch.randn(3, 1, *[5] * axes) + 0.5
    original = nn.Sequential(One(axes, pool), nn.Flatten(), nn.LazyLinear(2))
    original(images)
    network = quantise(original, [images])
    average = next(op for op in network.operations() if isinstance(op, QuantAvgPool))
    source, output = average.sources[0], average.output
    codes = torch.randint(0, 256, (3, 2, *[5] * axes)).float()
    got = output.codes(average(source.reals(codes)))
    multiplier, shift = average.fixed_point()
    count = int(torch.tensor(average.window.kernel).prod())
    sums = (pool((codes - source.zero_point).double()) * count).round().long()
    wanted = (((sums * multiplier + (1 << (shift - 1))) >> shift) + output.zero_point).clamp(0, 255)
    assert (got == wanted).all()


def test_maximum_pooling_moves_codes() -> None:
    images = torch.randn(3, 1, 4, 5, 6)
    network = quantise(
        nn.Sequential(One(3, nn.MaxPool3d((2, 3, 2), 2, (1, 1, 0))), nn.Flatten(), nn.Linear(54, 2)), [images]
    )
    pool = next(op for op in network.operations() if isinstance(op, QuantMaxPool))
    values = pool.sources[0].reals(torch.randint(0, 256, (3, 2, 4, 5, 6)).float())
    assert torch.equal(pool(values), F.max_pool3d(values, (2, 3, 2), 2, (1, 1, 0)))
