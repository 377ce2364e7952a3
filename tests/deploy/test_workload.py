"""Workloads: counts of published networks, awkward layers by hand, refusals by name."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import capture, quantise, trace
from deploy.program import Conv2d, Linear
from deploy.testing import every_operation_program
from deploy.workload import LayerWorkload, workloads_of_module, workloads_of_program


class Block(nn.Module):
    """Basic block with He's option-A shortcut: subsampling and zero-padded channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, (outputs - inputs) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(x + y)


class ResNet(nn.Module):
    """CIFAR ResNet of depth 6 n + 2."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(n - 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(x, 8).flatten(1))


@pytest.mark.parametrize(
    ("n", "macs_million", "first_share_percent"),
    [(1, 12.24, 3.6), (2, 26.40, 1.7), (3, 40.55, 1.1), (5, 68.86, 0.6)],
)
def test_published_macs_of_cifar_resnets(n: int, macs_million: float, first_share_percent: float) -> None:
    """papers/approximate_networks.md §1: ResNet8/14/20/32."""
    layers = workloads_of_module(ResNet(n), (3, 32, 32))
    macs = sum(layer.macs for layer in layers)
    assert len(layers) == 6 * n + 2
    assert macs / 1e6 == pytest.approx(macs_million, abs=0.005)
    assert layers[0].macs / macs * 100 == pytest.approx(first_share_percent, abs=0.05)
    assert layers[0].name == "conv1" and layers[1].name == "layer1.0.conv1" and layers[-1].name == "linear"


def test_counts_of_awkward_layers_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=(1, 0), groups=2),  # [4, 9, 11] -> [8, 5, 7]
        nn.ReLU6(inplace=True),
        nn.Conv2d(8, 8, 3, padding="same", groups=8),  # depthwise
        nn.Conv2d(8, 6, 1, dilation=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    grouped, depthwise, pointwise, last = workloads_of_module(net, (4, 9, 11))
    assert grouped == LayerWorkload("0", "conv2d", 2 * 3 * 5, 8, 2, 35, 4 * 9 * 11)
    assert (grouped.macs, grouped.weights, grouped.outputs) == (35 * 8 * 30, 240, 280)
    assert depthwise == LayerWorkload("2", "conv2d", 9, 8, 8, 35, 280)
    assert depthwise.macs == 35 * 8 * 9
    assert pointwise == LayerWorkload("3", "conv2d", 8, 6, 1, 35, 280)
    assert last == LayerWorkload("6", "linear", 6, 3, 1, 1, 6)


def test_a_module_applied_twice_is_two_workloads_as_in_the_program() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.shared(F.relu(self.shared(x)))

    found = workloads_of_module(Twice(), (2, 4, 4))
    assert [(w.name, w.macs, w.weights, w.inputs) for w in found] == [
        ("shared", 16 * 2 * 18, 36, 32),
        ("shared_2", 16 * 2 * 18, 36, 32),
    ]
    assert [w.name for w in found] == list(capture(Twice(), torch.zeros(1, 2, 4, 4)).layers())


def test_linear_on_a_sequence_counts_its_positions() -> None:
    (layer,) = workloads_of_module(nn.Linear(5, 7), (11, 5))[:1]
    assert (layer.positions, layer.macs) == (11, 11 * 35)


def test_training_flags_survive() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    net.train()
    net[1].eval()
    workloads_of_module(net, (1, 5, 5))
    assert [module.training for module in net.modules()] == [True, True, False, True]
    assert int(net[1].num_batches_tracked) == 0


class _Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y @ y.transpose(-1, -2)


def test_a_product_of_activations_by_hand() -> None:
    linear, product = workloads_of_module(_Product(), (3, 4))
    assert linear.name == "inner"
    assert product == LayerWorkload("matmul", "matmul", 4, 3, 1, 3, 2 * 12)
    assert (product.macs, product.outputs, product.weights, product.second_operands) == (36, 9, 0, 12)


class _Broadcast(nn.Module):
    """A matrix [4, 5] without heads times one [5, 3] of each of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(5, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.heads(x[:, :3]).reshape(-1, 3, 2, 5).permute(0, 2, 3, 1)
        return (x.unsqueeze(1) @ heads).flatten(1)


def test_a_matrix_that_meets_several_is_multiplied_by_each() -> None:
    _, product = workloads_of_module(_Broadcast(), (4, 5))
    assert (product.macs, product.outputs, product.groups) == (2 * 4 * 3 * 5, 2 * 4 * 3, 2)


class _Attention(nn.Module):
    """Two attentions in one module, one of them spelt out, and a parameter in a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.weight = nn.Parameter(torch.randn(6, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(-1, 7, 3, 2, 3).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        z = torch.softmax(F.dropout(q @ k.transpose(2, 3), 0.1, self.training), -1).clone() @ v
        return (y + z).transpose(1, 2).reshape(-1, 7, 6) @ self.weight


def test_attentions_are_named_and_counted_as_in_the_quantised_network() -> None:
    x = torch.randn(4, 7, 6)
    network = quantise(_Attention(), [x])
    found = workloads_of_module(_Attention(), (7, 6))
    assert [work.name for work in found] == ["qkv", "qk", "av", "qk_2", "av_2", "layer"]
    traced = trace(network, [x])
    assert {work.name: work.macs for work in found} == {name: t.macs for name, t in traced.items()}
    qk, av = found[1:3]
    assert qk == LayerWorkload("qk", "matmul", 3, 2 * 7, 2, 7, 2 * 3 * 14)
    assert av == LayerWorkload("av", "matmul", 7, 2 * 3, 2, 7, 2 * 7 * 10)


def test_convolutions_of_other_dimensions() -> None:
    (line,) = workloads_of_module(nn.Sequential(nn.Conv1d(2, 4, 3, groups=2)), (2, 5))
    assert line == LayerWorkload("0", "conv1d", 3, 4, 2, 3, 10)
    (room,) = workloads_of_module(nn.Sequential(nn.Conv3d(2, 4, 3, padding="same")), (2, 5, 4, 3))
    assert room == LayerWorkload("0", "conv3d", 54, 4, 1, 60, 120)


@pytest.mark.parametrize(
    ("net", "shape", "operation"),
    [
        (nn.Sequential(nn.ConvTranspose2d(2, 2, 3)), (2, 5, 5), "aten.conv_transpose2d.input"),
        (nn.Sequential(nn.ConvTranspose1d(2, 2, 3)), (2, 5), "aten.conv_transpose1d.default"),
    ],
)
def test_unknown_operations_are_named(net: nn.Module, shape: tuple[int, ...], operation: str) -> None:
    with pytest.raises(ValueError) as caught:
        workloads_of_module(net, shape)
    assert operation in str(caught.value)


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(x)


def test_unknown_operation_names_its_module() -> None:
    with pytest.raises(ValueError, match="in module 'up'"):
        workloads_of_module(_Named(), (2, 5, 5))


def test_wrong_input_shape_says_so() -> None:
    with pytest.raises(ValueError, match=r"Sequential cannot be exported for inputs of shape \(1, 1, 5, 5\)"):
        workloads_of_module(nn.Sequential(nn.Conv2d(3, 2, 3)), (1, 5, 5))


def test_nothing_to_count() -> None:
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        workloads_of_module(nn.Sequential(nn.ReLU()), (3,))


@pytest.mark.parametrize("field", ["fan_in", "channels", "groups", "positions", "inputs", "weight_bits"])
def test_impossible_workloads(field: str) -> None:
    values = dict(name="a", kind="conv2d", fan_in=9, channels=4, groups=2, positions=3, inputs=5, weight_bits=8)
    with pytest.raises(ValueError, match=f"'a': {field} must be at least 1, got 0"):
        LayerWorkload(**{**values, field: 0})
    with pytest.raises(ValueError, match="4 output channels do not split into 3 groups"):
        LayerWorkload(**{**values, "groups": 3})


def test_program_workloads_agree_with_its_arrays() -> None:
    program = every_operation_program(np.random.default_rng(0))
    layers = {layer.name: layer for layer in workloads_of_program(program)}
    operations = [op for op in program.operations if isinstance(op, Conv2d | Linear)]
    assert list(layers) == [op.name for op in operations] and operations
    for operation in operations:
        layer = layers[operation.name]
        assert layer.weights == operation.weights.values.size
        assert layer.outputs == program.tensors[operation.output].size
        assert layer.weight_bits == (9 if operation.weights.operands == "sign-magnitude-9" else 8)
        assert layer.kind == ("conv2d" if isinstance(operation, Conv2d) else "linear")
