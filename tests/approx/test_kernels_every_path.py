"""Every path on one and the same random layer: whatever serves a table gives the reference's integers.

150 layers in the default tier, 10,000 in the slow one.
"""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import Operands, layer_table, tvm_adapter
from approx.kernels import reference
from approx.kernels.dispatch import PATHS
from approx.kernels.geometry import conv_geometry
from multipliers import generate

pytestmark = pytest.mark.skipif(not tvm_adapter.tvm_available(), reason="TVM is not installed")
CIRCUITS = ("mul8u_array", "mul8u_trunc3", "mul8u_drum4", "mul8u_mitchell", "mul8u_bam_h0v5", "mul8u_roba")
OPERANDS = (Operands.SIGN_MAGNITUDE, Operands.SIGN_MAGNITUDE_9, Operands.AFFINE)


def a_table(kind: str, seed: int) -> torch.Tensor:
    """Product table int32 [n_w, 256] with table[0][0] != 0."""
    random = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=random)

    if kind == "circuit":
        operands = OPERANDS[seed % 3]
        table = layer_table(generate(CIRCUITS[seed % len(CIRCUITS)]), operands).tensor()
        return (table + int(draw(-900, 900, 1))).int()
    n_w = int(draw(1, 512, 1))
    if kind == "planes":
        count = int(draw(1, 4, 1))
        factors = draw(-128, 128, n_w, count).float() @ draw(0, 256, count, 256).float()
        return (factors + draw(-9999, 9999, n_w, 1) + draw(-9999, 9999, 1, 256)).int()
    span = (1, 255, 32767, 65535)[seed % 4]
    return (draw(0, span + 1, n_w, 256) + draw(-99999, 99999, n_w, 1)).int()


@st.composite
def layers(draw: Callable) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict]:
    """Codes, weight indices, table and options of `table_conv2d`; many of them depthwise, few of them large."""
    seed = draw(st.integers(0, 2**31))
    table = a_table(draw(st.sampled_from(["circuit", "planes", "any"])), seed)
    table[0, 0] += int(table[0, 0] == 0)
    random = torch.Generator().manual_seed(seed)
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    dilation, stride = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    spread = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [
        max(1, reach - before - after) + draw(st.integers(0, 9))
        for reach, before, after in zip(spread, padding[:2], padding[2:], strict=True)
    ]
    groups = draw(st.sampled_from([1, 1, 1, 2, 5, 16]))
    channels, outputs = (1, draw(st.integers(1, 2))) if groups > 2 else (draw(st.integers(1, 20)), draw(_OUTPUTS))
    images = draw(st.sampled_from([0, 1, 1, 2, 5]))
    codes = torch.randint(0, 256, (images, *size, channels * groups), dtype=torch.uint8, generator=random)
    shape = (outputs * groups, *kernel, channels)
    index = torch.randint(0, len(table), shape, dtype=torch.int16, generator=random)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return codes, index, table, options | {"pad_code": draw(st.integers(0, 255))}


_OUTPUTS = st.sampled_from([1, 2, 15, 16, 17, 33, 64, 70])


def check(layer: tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict]) -> int:
    """Compares all paths that serve the layer's table; returns how many."""
    codes, index, table, o = layer
    wanted = reference.table_conv2d(codes, index, table, **o)
    shape = conv_geometry(codes, index, o["stride"], o["padding"], o["dilation"], o["groups"])
    if not len(codes):
        return 0
    served = 0
    for path in PATHS:
        prepared = path.prepare(table)
        if prepared is not None and path.nanoseconds(shape, prepared) < float("inf"):
            found = path.kernel.conv2d(codes, index, prepared, shape, o["pad_code"])
            assert found.dtype == torch.int32 and torch.equal(found, wanted), path.kernel.__name__
            served += 1
    return served


@settings(max_examples=150)
@given(layers())
def test_every_path_equals_the_reference(layer: tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict]) -> None:
    assert not len(layer[0]) or check(layer) >= 2


@pytest.mark.slow
@settings(max_examples=10_000)
@given(layers())
def test_every_path_equals_the_reference_ten_thousand_times(layer) -> None:
    check(layer)
