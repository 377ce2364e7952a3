"""The depthwise low-rank kernel equals the reference entry for entry, on every instruction set this machine can run."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import tvm_adapter
from approx.kernels import depthwise, low_rank, reference
from approx.kernels.depthwise_script import POSITIONS, DepthwiseClass, depthwise_kernel
from approx.kernels.factorisation import Factorisation
from approx.kernels.geometry import conv_geometry

LEVELS = ["x86-64-v4", "x86-64-v3", "x86-64-v2"]


def _runnable() -> list[str]:
    host = tvm_adapter.host_isa()
    below = LEVELS[LEVELS.index(host) :] if host in LEVELS else []
    return sorted({low_rank._isa(), *below}) if low_rank.dot_bits() else []


RUNNABLE = _runnable()


def _factors(planes: int, n_w: int, term: int = 1000) -> Factorisation:
    """Random factors that reach the ends of their ranges; the table's first entry is not 0."""
    v, u = torch.randint(-128, 128, (planes, n_w)), torch.randint(0, 256, (planes, 256))
    v[:, -1], u[:, 3], u[:, 200] = -128, 255, 0
    f, g = torch.randint(-term, term + 1, (n_w,)), torch.randint(-term, term + 1, (256,))
    made = f.int(), g.int(), torch.randint(-5, 6, (planes,)).int(), v.to(torch.int8), u.to(torch.uint8)
    made[0][0] += Factorisation(*made).table()[0, 0] == 0
    return Factorisation(*made)


@st.composite
def cases(draw: Callable) -> tuple[torch.Tensor, torch.Tensor, Factorisation, dict]:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    height = max(1, dilation[0] * (kernel[0] - 1) + 1 - padding[0] - padding[2]) + draw(st.integers(0, 5))
    width = max(1, dilation[1] * (kernel[1] - 1) + 1 - padding[1] - padding[3]) + draw(st.integers(0, 5))
    channels = draw(st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 70]))
    factors = _factors(
        draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 255, 511])), draw(st.sampled_from([0, 999]))
    )
    options = {
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": padding,
        "dilation": dilation,
        "groups": channels,
        "pad_code": draw(st.integers(0, 255)),
    }
    codes = torch.randint(0, 256, (draw(st.integers(0, 3)), height, width, channels), dtype=torch.uint8)
    dtype = draw(st.sampled_from([torch.int16, torch.int32]))
    return codes, torch.randint(0, len(factors.f), (channels, *kernel, 1), dtype=dtype), factors, options


def _found(codes: torch.Tensor, index: torch.Tensor, factors: Factorisation, options: dict) -> torch.Tensor:
    shape = conv_geometry(codes, index, options["stride"], options["padding"], options["dilation"], options["groups"])
    assert depthwise.serves(shape)
    return low_rank.conv2d(codes, index, factors, shape, options["pad_code"])


@settings(max_examples=80)
@given(case=cases())
def test_every_instruction_set_equals_the_reference(case: tuple) -> None:
    codes, index, factors, options = case
    expected = reference.table_conv2d(codes, index, factors.table(), **options)
    for isa in RUNNABLE:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(low_rank, "_isa", lambda isa=isa: isa)
            assert torch.equal(_found(*case), expected), isa


@pytest.mark.skipif(not RUNNABLE, reason="this machine has no dot product")
@pytest.mark.parametrize("positions", range(1, 2 * POSITIONS + 2))
def test_every_tail_of_positions(positions: int) -> None:
    codes, index = torch.randint(0, 256, (positions, 1, 1, 20)).byte(), torch.randint(0, 255, (20, 1, 1, 1)).short()
    options = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 20, "pad_code": 0}
    factors = _factors(2, 255)
    expected = reference.table_conv2d(codes, index, factors.table(), **options)
    assert torch.equal(_found(codes, index, factors, options), expected)


@pytest.mark.skipif(not RUNNABLE, reason="this machine has no dot product")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_and_threads_do_not_show(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    codes, index = torch.randint(0, 256, (9, 7, 6, 33)).byte(), torch.randint(0, 255, (33, 3, 2, 1)).short()
    options = {"stride": (1, 2), "padding": (1, 0, 1, 2), "dilation": (1, 1), "groups": 33, "pad_code": 200}
    factors, before = _factors(3, 255), torch.get_num_threads()
    monkeypatch.setattr("approx.kernels.layout._COPY_BYTES", 9000)
    torch.set_num_threads(threads)
    try:
        expected = reference.table_conv2d(codes, index, factors.table(), **options)
        assert torch.equal(_found(codes, index, factors, options), expected)
    finally:
        torch.set_num_threads(before)


def test_only_depthwise_layers_are_served() -> None:
    codes = torch.empty(1, 3, 3, 8, dtype=torch.uint8)
    served = []
    for outputs, channels, groups in ((8, 1, 8), (16, 1, 8), (8, 8, 1), (8, 2, 4)):
        index = torch.empty(outputs, 1, 1, channels, dtype=torch.int16)
        served.append(depthwise.serves(conv_geometry(codes, index, (1, 1), (0, 0, 0, 0), (1, 1), groups)))
    assert served == [True, False, False, False]


@pytest.mark.parametrize("isa", ["x86-64-v4", "x86-64-v3", "aarch64+dotprod"])
def test_kernels_compile_to_vectors(isa: str) -> None:
    lanes = {"x86-64-v4": 16, "x86-64-v3": 8, "aarch64+dotprod": 4}[isa]
    kernel = DepthwiseClass(isa, lanes, "int16" if isa.startswith("x86") else "uint8")
    tvm = tvm_adapter.require_tvm()
    library = tvm.compile(tvm.IRModule({kernel.name: depthwise_kernel(kernel)}), target=tvm_adapter.isa_target(isa))
    assembly = library.mod.inspect_source("asm")
    assert any(name in assembly for name in ("vpmull", "vpmadd", "mla")) and "TVMBackendAllocWorkspace" not in assembly
