"""The operators: what PyTorch's own checks ask of them, and networks of them in graphs, autocast and DDP."""

import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import LayerTable, Operands, QuantisedNetwork, quantise
from approx.kernels import dispatch, ops

PRODUCTS = (torch.arange(-127, 128)[:, None] * torch.arange(256)).int() // 3


def _codes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def _index(*shape: int) -> torch.Tensor:
    return torch.randint(0, 255, shape, dtype=torch.int16)


CONVOLUTIONS = {
    "3x3": (_codes(2, 6, 5, 4), _index(3, 3, 3, 4), PRODUCTS, (1, 1), (1, 1, 1, 1), (1, 1), 1, 7),
    "strided, uneven padding": (_codes(1, 7, 6, 2), _index(2, 2, 3, 2), PRODUCTS, (2, 1), (0, 1, 2, 0), (1, 2), 1, 0),
    "depthwise": (_codes(3, 5, 5, 4), _index(4, 3, 3, 1), PRODUCTS, (1, 1), (0, 0, 0, 0), (1, 1), 4, 255),
    "no images": (_codes(0, 5, 5, 4), _index(6, 3, 3, 4), PRODUCTS, (1, 1), (0, 0, 0, 0), (1, 1), 1, 3),
}
PRODUCTS_OF_MATRICES = {"6x5x4": (6, 5, 4), "1x1x1": (1, 1, 1), "no rows": (0, 5, 4), "nothing to sum": (3, 0, 4)}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_opcheck_conv2d(case: str) -> None:
    torch.library.opcheck(ops.table_conv2d, CONVOLUTIONS[case])


@pytest.mark.parametrize("case", PRODUCTS_OF_MATRICES)
def test_opcheck_matmul(case: str) -> None:
    rows, inner, outputs = PRODUCTS_OF_MATRICES[case]
    torch.library.opcheck(ops.table_matmul, (_codes(rows, inner), _index(outputs, inner), PRODUCTS))


def test_opcheck_fixed_point() -> None:
    for factor in (torch.tensor([0.3, 1e-7, 0.0, 5.0]).double(), torch.tensor(0.25).double()):
        torch.library.opcheck(ops.fixed_point, (factor,))
    torch.library.opcheck(ops.fixed_point_sum, (torch.tensor([0.7, 1.3]).double(),))


def test_operators_are_the_dispatched_kernels() -> None:
    codes, index, table, stride, padding, dilation, groups, pad_code = CONVOLUTIONS["strided, uneven padding"]
    wanted = dispatch.table_conv2d(
        codes, index, table, stride=stride, padding=padding, dilation=dilation, groups=groups, pad_code=pad_code
    )
    assert torch.equal(torch.ops.picojoule.table_conv2d(*CONVOLUTIONS["strided, uneven padding"]), wanted)


BAD_MATMUL = {
    "codes: expected uint8": lambda: (_codes(3, 4).int(), _index(2, 4), PRODUCTS),
    "weight_index: expected int16 or int32": lambda: (_codes(3, 4), _index(2, 4).long(), PRODUCTS),
    r"table: expected int32 \[n_w, 256\].*got torch.int32 \[255, 128\]": lambda: (
        _codes(3, 4),
        _index(2, 4),
        PRODUCTS[:, :128].contiguous(),
    ),
    r"codes: expected a contiguous tensor.*contiguous\(\)": lambda: (_codes(4, 3).T, _index(2, 4), PRODUCTS),
    "the same K": lambda: (_codes(3, 4), _index(2, 5), PRODUCTS),
    r"indices 0..254.*got 255..255": lambda: (_codes(3, 4), _index(2, 4).fill_(255), PRODUCTS),
    "K = 33026.*may reach 2147515650.*at most 2147483647": lambda: (
        _codes(1, 33_026),
        torch.zeros(1, 33_026, dtype=torch.int16),
        torch.full((1, 256), 65_025, dtype=torch.int32),
    ),
}


@pytest.mark.parametrize("message", BAD_MATMUL)
def test_bad_arguments_stay_errors(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torch.ops.picojoule.table_matmul(*BAD_MATMUL[message]())


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (3, (0, 1), "stride: expected a tuple of two positive"),
        (4, (1, 1), "padding: expected a tuple of four integers"),
        (5, (9, 9), "larger than the padded input"),
        (6, 3, "expected 4 channels / 3 groups"),
        (7, 256, "pad_code: expected an integer code 0..255"),
    ],
)
def test_bad_geometry_stays_an_error(place: int, value: object, message: str) -> None:
    arguments = list(CONVOLUTIONS["3x3"])
    arguments[place] = value
    with pytest.raises(ValueError, match=message):
        torch.ops.picojoule.table_conv2d(*arguments)


def test_a_graph_of_bad_arguments_is_refused_when_it_is_made() -> None:
    compiled = torch.compile(lambda *a: ops.table_matmul(*a), backend="aot_eager", fullgraph=True)
    with pytest.raises(Exception, match="codes: expected uint8"):
        compiled(_codes(3, 4).int(), _index(2, 4), PRODUCTS)


class _Branches(nn.Module):
    """Every operation that computes: convolutions, depthwise, add, concatenation, pools, ReLU6, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.last = nn.Conv2d(8, 4, 2, padding="same")
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.cat([torch.relu(self.depthwise(x) + x), x], 1)
        x = F.relu6(self.last(F.max_pool2d(x, 2)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture
def network() -> tuple[QuantisedNetwork, torch.Tensor]:
    images = torch.randn(6, 2, 8, 8)
    quantised = quantise(_Branches(), [images])
    codings = (Operands.SIGN_MAGNITUDE, Operands.AFFINE, Operands.SIGNED)
    for layer, operands in zip(quantised.layers().values(), codings, strict=False):
        weights = torch.arange(operands.lowest, operands.highest + 1)[:, None]
        table = LayerTable((weights * torch.arange(256) // 8 * 8).int().numpy(), -operands.lowest)
        layer.use_circuit("truncated", operands, table)
    assert [layer.table is None for layer in quantised.layers().values()] == [False, False, False, True]
    return quantised, images


def _step(network: QuantisedNetwork, run, images: torch.Tensor) -> list[torch.Tensor]:
    """Output and gradients."""
    network.zero_grad()
    output = run(images)
    output.square().sum().backward()
    return [output.detach(), *(p.grad.clone() for p in network.parameters())]


def test_compiled_networks_are_one_graph_with_the_same_numbers(network) -> None:
    quantised, images = network
    quantised.layers()["depthwise"].use_gradient(4)
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled = torch.compile(quantised, backend="aot_eager", fullgraph=True)
        for mine, eager in zip(_step(quantised, compiled, images), _step(quantised, quantised, images), strict=True):
            assert torch.equal(mine, eager)
        with torch.no_grad():
            assert torch.equal(compiled(images), quantised(images))
            for layer in quantised.layers().values():  # other circuits are noticed
                layer.use_circuit("exact", Operands.SIGN_MAGNITUDE, None)
            assert torch.equal(compiled(images), quantised(images))


@pytest.mark.parametrize("strict", [True, False])
def test_exported_programs_hold_the_operators_and_any_batch(network, strict: bool) -> None:
    quantised, images = network
    shapes = {"x": {0: torch.export.Dim("batch")}}
    with_gradients = torch.export.export(quantised, (images,), dynamic_shapes=shapes, strict=strict)
    with torch.no_grad():
        assert torch.equal(with_gradients.module()(images), quantised(images))
        program = torch.export.export(quantised, (images,), dynamic_shapes=shapes, strict=strict)
        names = [str(node.target) for node in program.graph.nodes]
        assert names.count("picojoule.table_conv2d.default") == 4  # the affine layer also sums its codes
        for batch in (images, images[:5], images[:2]):
            assert torch.equal(program.module()(batch), quantised(batch))


def test_autocast_leaves_integers_and_gradients_alone(network) -> None:
    quantised, images = network
    wanted = _step(quantised, quantised, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _step(quantised, quantised, images)
    assert found[0].dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


_WORKER = textwrap.dedent("""
    import os
    import sys
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel
    from approx import LayerTable, Operands, quantise

    torch.set_num_threads(1)
    rank, place = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    torch.manual_seed(0)
    images = torch.randn(8, 2, 6, 6)
    network = quantise(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)), [images])
    table = LayerTable((torch.arange(-127, 128)[:, None] * torch.arange(256) // 8 * 8).int().numpy(), 127)
    for layer in network.layers().values():
        layer.use_circuit("truncated", Operands.SIGN_MAGNITUDE, table)
        layer.use_gradient(4)
    network(images).square().mean().backward()  # the mean of the halves' means
    alone = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    shared = DistributedDataParallel(network)
    shared(images[4 * rank : 4 * rank + 4]).square().mean().backward()
    for mine, whole in zip(network.parameters(), alone):
        torch.testing.assert_close(mine.grad, whole, rtol=1e-4, atol=1e-6)
    os._exit(0)  # PyTorch's own teardown of gloo aborts now and then
""")


@pytest.mark.slow
def test_two_processes_share_gradients(tmp_path) -> None:
    command = [sys.executable, "-c", _WORKER]
    workers = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
