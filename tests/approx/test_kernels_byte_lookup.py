"""Byte look-ups equal the reference entry for entry, whichever of positions and output channels the lanes are."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approx import tvm_adapter
from approx.kernels import byte_layout, byte_lookup, byte_tables, dispatch, reference
from approx.kernels.byte_lookup_script import LookupClass, lookup_kernel
from approx.kernels.byte_transpose_script import TransposeClass, transpose_kernel
from approx.kernels.geometry import conv_geometry

HERE = byte_tables.FEATURE in tvm_adapter.host_features()
runs_here = pytest.mark.skipif(not HERE, reason="this machine has no AVX-512 VBMI")


@dataclass
class Case:
    """Arguments of `table_conv2d`."""

    codes: torch.Tensor
    index: torch.Tensor
    table: torch.Tensor
    options: dict

    def reference(self) -> torch.Tensor:
        return reference.table_conv2d(self.codes, self.index, self.table, **self.options)

    def byte_lookup(self) -> torch.Tensor:
        o = self.options
        shape = conv_geometry(self.codes, self.index, o["stride"], o["padding"], o["dilation"], o["groups"])
        tables = byte_tables.prepare(self.table)
        assert tables is not None
        return byte_lookup.conv2d(self.codes, self.index, tables, shape, o["pad_code"])


@pytest.fixture(params=["positions", "outputs"])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the lanes are, where the layer leaves a choice."""
    monkeypatch.setattr(byte_lookup, f"_{request.param[:-1]}_ns", lambda *_: -1.0)
    return request.param


def _table(n_w: int, span: int, offset: int) -> torch.Tensor:
    """Random rows, each with its own offset, reaching the whole span; table[0][0] is not 0."""
    table = torch.randint(0, span + 1, (n_w, 256)) + torch.randint(-offset, offset + 1, (n_w, 1))
    table[:, 7] = table.amin(dim=1)
    table[:, 9] = table[:, 7] + span
    table[0, 0] = table[0, 7] + (span + 1) // 2
    return table.int()


@st.composite
def cases(draw: Callable) -> Case:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    groups = draw(st.sampled_from([1, 1, 2, 7, 16, 33]))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    height = max(1, dilation[0] * (kernel[0] - 1) + 1 - padding[0] - padding[2]) + draw(st.integers(0, 9))
    width = max(1, dilation[1] * (kernel[1] - 1) + 1 - padding[1] - padding[3]) + draw(st.integers(0, 20))
    channels, outputs = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3, 15, 17, 70]))
    channels, outputs = (draw(st.integers(1, 2)), draw(st.integers(1, 2))) if groups > 2 else (channels, outputs)
    n_w = draw(st.sampled_from([1, 2, 255, 256, 257, 511]))
    span = draw(st.sampled_from([0, 1, 255, 256, 65535, 65536, 2**24 - 1, 2**24]))
    return Case(
        torch.randint(0, 256, (draw(st.integers(0, 3)), height, width, channels * groups), dtype=torch.uint8),
        torch.randint(
            0, n_w, (outputs * groups, *kernel, channels), dtype=draw(st.sampled_from([torch.int16, torch.int32]))
        ),
        _table(n_w, span, draw(st.sampled_from([0, 1000, 100_000]))) // (1 if span < 2**20 else 64),
        {
            "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "pad_code": draw(st.integers(0, 255)),
        },
    )


@runs_here
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_byte_lookup_equals_the_reference(lanes: str, case: Case) -> None:
    assert torch.equal(case.byte_lookup(), case.reference())


def _dense(positions: int, fan_in: int, outputs: int, table: torch.Tensor) -> Case:
    return Case(
        torch.randint(0, 256, (positions, 1, 1, fan_in), dtype=torch.uint8),
        torch.randint(0, len(table), (outputs, 1, 1, fan_in), dtype=torch.int16),
        table,
        {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "pad_code": 0},
    )


@runs_here
@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 63, 64, 65, 127, 129, 256, 257, 300])
@pytest.mark.parametrize("positions", [1, 3, 16, 17])
def test_every_tail(lanes: str, positions: int, outputs: int) -> None:
    case = _dense(positions, 20, outputs, _table(255, 65535, 500))
    assert torch.equal(case.byte_lookup(), case.reference())


@runs_here
@pytest.mark.parametrize("registers", [1, 2, 4])
@pytest.mark.parametrize("bits", [0, 8, 16, 24, 30])
def test_every_number_of_planes_and_registers(lanes: str, monkeypatch, bits: int, registers: int) -> None:
    monkeypatch.setattr(byte_lookup, "_REGISTER_NS", {registers: 1.0})
    monkeypatch.setattr(byte_lookup, "_MOST_WORDS", 99)
    case = _dense(70, 1, 300, _table(255, 2**bits - 1, 0))
    assert byte_tables.prepare(case.table).by_weight.planes == max(1, -(-bits // 8))
    assert torch.equal(case.byte_lookup(), case.reference())


@runs_here
@pytest.mark.parametrize("fan_in", [255, 256, 257, 512, 513, 16_000])
def test_sums_that_leave_16_bits_are_widened_in_time(lanes: str, fan_in: int) -> None:
    """Every byte of every product is 255: 257 of them just fit a word."""
    table = torch.full((2, 256), 65535, dtype=torch.int32)
    table[:, 0] = 0
    case = _dense(3, fan_in, 17, table)
    case.codes.fill_(200)
    assert (case.byte_lookup() == 65535 * fan_in).all()


@runs_here
def test_rows_that_span_all_of_int32(lanes: str) -> None:
    table = _table(3, 5, 0)
    table[:, 3], table[:, 4] = 2**31 - 1, -(2**31) + 1
    case = _dense(9, 1, 40, table)
    case.codes[0], case.codes[1] = 3, 4
    assert torch.equal(case.byte_lookup(), case.reference())


@runs_here
def test_offsets_that_overflow_on_the_way_do_no_harm(lanes: str) -> None:
    """Sums of offsets reach -4e9, those of entries 4e9: together they fit."""
    table = torch.zeros(2, 256, dtype=torch.int32)
    table[:, 1] = -(2**20)
    case = _dense(5, 4000, 20, table)
    case.codes[case.codes == 1] = 0
    assert not case.byte_lookup().any()
    case.codes[:, :, :, 7] = 1
    assert (case.byte_lookup() == -(2**20)).all()


@runs_here
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_and_threads_do_not_show(lanes: str, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    options = {"stride": (1, 2), "padding": (1, 0, 1, 2), "dilation": (1, 1), "groups": 1, "pad_code": 200}
    codes, index = torch.randint(0, 256, (9, 17, 16, 5)).byte(), torch.randint(0, 256, (33, 3, 3, 5)).short()
    before = torch.get_num_threads()
    monkeypatch.setattr("approx.kernels.layout._COPY_BYTES", 64 * 3000)
    torch.set_num_threads(threads)
    try:
        for case in (Case(codes, index, _table(256, 65535, 70_000), options), _dense(1000, 40, 90, _table(9, 9, 9))):
            assert torch.equal(case.byte_lookup(), case.reference())
    finally:
        torch.set_num_threads(before)


@runs_here
@pytest.mark.parametrize("stride", [(2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("size", [(5, 1), (1, 5), (5, 5)])
def test_steps_between_single_codes(lanes: str, stride: tuple[int, int], size: tuple[int, int]) -> None:
    options = {"stride": stride, "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "pad_code": 0}
    codes, index = torch.randint(0, 256, (1, *size, 1)).byte(), torch.randint(0, 255, (9, 1, 1, 1)).short()
    case = Case(codes, index, _table(255, 65535, 500), options)
    assert torch.equal(case.byte_lookup(), case.reference())


@runs_here
def test_codes_at_any_address(lanes: str) -> None:
    for shift in (1, 3, 5):
        case = _dense(50, 70, 16, _table(255, 1000, 0))
        buffer = torch.zeros(50 * 70 + 8, dtype=torch.uint8)
        buffer[shift : shift + 3500] = case.codes.flatten()
        case.codes = buffer[shift : shift + 3500].view(50, 1, 1, 70)
        assert torch.equal(case.byte_lookup(), case.reference())


@runs_here
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("size", [(1, 1), (63, 40), (64, 15), (64, 16), (65, 17), (200, 70), (3, 500)])
def test_transposes(size: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randint(0, 256, size, dtype=dtype)
    found = byte_layout._transposed(matrix)[: matrix.numel()].view(size[1], size[0])
    assert torch.equal(found, matrix.t().to(torch.uint8))


def test_tables_are_cut_into_as_few_bytes_as_rows_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm_adapter, "host_features", lambda: (byte_tables.FEATURE,))
    signs = torch.arange(-255, 256)[:, None] * torch.arange(256)  # spans 17 bits, each row 16
    tables = byte_tables.prepare(signs.int())
    assert tables is not None and tables.by_weight.planes == 2 and tables.by_code is None
    tables = byte_tables.prepare(signs[128:383].int())
    assert tables is not None and tables.by_code is not None
    for rows, wanted in ((tables.by_weight, signs[128:383]), (tables.by_code, signs[128:383].T)):
        entries = rows.entries.long()
        rebuilt = rows.offset[:, None] + entries[:, 0] + 256 * entries[:, 1]
        assert torch.equal(rebuilt[:, : wanted.shape[1]], wanted)
    monkeypatch.setattr(tvm_adapter, "host_features", lambda: ("avx512vnni",))
    assert byte_tables.prepare(signs.int()) is None


@pytest.mark.parametrize("positions", [True, False])
def test_kernels_compile_to_byte_look_ups(positions: bool) -> None:
    isa = f"x86-64-v4+{byte_tables.FEATURE}"
    kernel, turn = LookupClass(isa, 2, 4, "uint8", positions), TransposeClass(isa, "int16")
    functions = {kernel.name: lookup_kernel(kernel), turn.name: transpose_kernel(turn)}
    tvm = tvm_adapter.require_tvm()
    assembly = tvm.compile(tvm.IRModule(functions), target=tvm_adapter.isa_target(isa)).mod.inspect_source("asm")
    assert "vpermi2b" in assembly and "vpunpcklbw" in assembly
    assert "TVMBackendAllocWorkspace" not in assembly  # a kernel from the disk cache has no full TVM runtime


@runs_here
@pytest.mark.parametrize(
    ("codes", "index", "groups"),
    [
        ((1, 14, 14, 64), (64, 3, 3, 1), 64),
        ((8, 7, 7, 96), (96, 5, 5, 1), 96),
        ((1, 1, 1, 512), (1000, 1, 1, 512), 1),
        ((1, 4, 4, 16), (64, 3, 3, 16), 1),
    ],
)
def test_layers_it_is_made_for_choose_it(codes: tuple[int, ...], index: tuple[int, ...], groups: int) -> None:
    x, w = torch.empty(codes, dtype=torch.uint8), torch.empty(index, dtype=torch.int16)
    shape = conv_geometry(x, w, (1, 1), (1, 1, 1, 1) if index[1] > 1 else (0, 0, 0, 0), (1, 1), groups)
    assert dispatch.cheapest(_table(255, 65535, 0), shape)[0].kernel is byte_lookup
