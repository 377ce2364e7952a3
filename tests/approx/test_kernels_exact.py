"""Every fast kernel equals the reference entry for entry, on this instruction set and on the lower ones it can run."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approx import tvm_adapter
from approx.kernels import gather, reference, row_table
from approx.kernels.compiled import compiled
from approx.kernels.geometry import conv_geometry
from approx.kernels.row_data import prepare
from approx.kernels.row_table_script import KernelClass, row_table_kernel

ISAS = ["x86-64-v4", "x86-64-v3", "x86-64-v2"]
RUNNABLE = ISAS[ISAS.index(tvm_adapter.host_isa()) :] if tvm_adapter.host_isa() in ISAS else [tvm_adapter.host_isa()]


@dataclass
class Case:
    """Arguments of `table_conv2d`."""

    codes: torch.Tensor
    index: torch.Tensor
    table: torch.Tensor
    options: dict

    def reference(self) -> torch.Tensor:
        return reference.table_conv2d(self.codes, self.index, self.table, **self.options)

    def shape(self):
        o = self.options
        return conv_geometry(self.codes, self.index, o["stride"], o["padding"], o["dilation"], o["groups"])

    def row_table(self) -> torch.Tensor:
        data = prepare(self.table)
        assert data is not None
        return row_table.conv2d(self.codes, self.index, data, self.shape(), self.options["pad_code"])

    def gather(self) -> torch.Tensor:
        return gather.conv2d(self.codes, self.index, self.table, self.shape(), self.options["pad_code"])


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
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    height = max(1, dilation[0] * (kernel[0] - 1) + 1 - padding[0] - padding[2]) + draw(st.integers(0, 4))
    width = max(1, dilation[1] * (kernel[1] - 1) + 1 - padding[1] - padding[3]) + draw(st.integers(0, 4))
    channels, outputs = draw(st.integers(1, 19)), draw(st.sampled_from([1, 3, 15, 16, 17, 33, 48, 65, 80]))
    n_w = draw(st.sampled_from([1, 2, 255, 256, 511]))
    span = draw(st.sampled_from([0, 1, 32767, 32768, 40000, 65535]))
    return Case(
        torch.randint(0, 256, (draw(st.integers(1, 3)), height, width, channels * groups), dtype=torch.uint8),
        torch.randint(
            0, n_w, (outputs * groups, *kernel, channels), dtype=draw(st.sampled_from([torch.int16, torch.int32]))
        ),
        _table(n_w, span, draw(st.sampled_from([0, 1000, 100_000]))),
        {
            "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "pad_code": draw(st.integers(0, 255)),
        },
    )


@pytest.fixture(params=RUNNABLE)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tvm_adapter, "host_isa", lambda: request.param)
    return request.param


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_row_table_equals_the_reference(isa: str, case: Case) -> None:
    assert torch.equal(case.row_table(), case.reference())


@settings(max_examples=60)
@given(case=cases())
def test_gather_equals_the_reference(case: Case) -> None:
    assert torch.equal(case.gather(), case.reference())


def _dense(positions: int, fan_in: int, outputs: int, table: torch.Tensor) -> Case:
    return Case(
        torch.randint(0, 256, (positions, 1, 1, fan_in), dtype=torch.uint8),
        torch.randint(0, len(table), (outputs, 1, 1, fan_in), dtype=torch.int16),
        table,
        {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "pad_code": 0},
    )


@pytest.mark.parametrize("fan_in", [1, 7, 8, 9, 15, 16, 17, 31, 33])
def test_every_tail_of_k(isa: str, fan_in: int) -> None:
    case = _dense(40, fan_in, 20, _table(255, 65535, 500))
    assert torch.equal(case.row_table(), case.reference())


@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 112, 113])
def test_every_tail_of_o(isa: str, outputs: int) -> None:
    case = _dense(40, 24, outputs, _table(511, 32000, 500))
    assert torch.equal(case.row_table(), case.reference())


@pytest.mark.parametrize("extreme", [0, 65535, 131070])
def test_lane_sums_that_wrap_are_exact(isa: str, extreme: int) -> None:
    """K = 16000 products at the ends of a full-range row: lane sums near 2^30, odd << 16 wraps many times."""
    table = torch.zeros(2, 256, dtype=torch.int32)
    table[0, 1::2], table[1] = 65535, 65535
    table += extreme - 65535
    case = _dense(3, 16_000, 17, table)
    assert torch.equal(case.row_table(), case.reference())


def test_sums_near_the_ends_of_int32(isa: str) -> None:
    fan_in = 32_768
    for sign in (1, -1):
        table = torch.full((1, 256), sign * 65535, dtype=torch.int32)
        table[0, 5] = 0
        case = _dense(2, fan_in, 2, table)
        case.codes.fill_(8)
        assert int(case.row_table()[0, 0, 0, 0]) == sign * 65535 * fan_in


def test_pairs_are_added_only_where_they_fit() -> None:
    """Rows of span 40000 and 25535 may meet in a pair, 40000 and 25536 may not; both give the exact sum."""
    for partner in (25_535, 25_536):
        table = torch.zeros(2, 256, dtype=torch.int32)
        table[0, 255], table[1, 255] = 40_000, partner
        data = prepare(table)
        assert data is not None
        alternating = torch.tensor([[0, 1] * 8] * 16, dtype=torch.int16)
        assert data.pairs_fit(alternating) == (partner == 25_535)
        case = _dense(20, 16, 16, table)
        case.index = alternating.view(16, 1, 1, 16)
        case.codes.fill_(255)
        assert torch.equal(case.row_table(), case.reference())
        assert int(case.row_table()[0, 0, 0, 0]) == 8 * (40_000 + partner)


def test_padding_never_adds_the_first_entry() -> None:
    """One product a sum, everything else padding of K and O; table[0][0] = 12345 must appear exactly once."""
    table = torch.zeros(3, 256, dtype=torch.int32)
    table[0, 0] = 12_345
    case = _dense(5, 1, 1, table)
    case.codes.zero_()
    case.index.zero_()
    assert case.row_table().flatten().tolist() == [12_345] * 5


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_and_threads_do_not_show(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    case = _dense(1000, 40, 90, _table(256, 65535, 70_000))
    conv = Case(
        torch.randint(0, 256, (9, 7, 6, 5), dtype=torch.uint8),
        torch.randint(0, 256, (33, 3, 3, 5), dtype=torch.int16),
        case.table,
        {"stride": (1, 2), "padding": (1, 0, 1, 2), "dilation": (1, 1), "groups": 1, "pad_code": 200},
    )
    before = torch.get_num_threads()
    monkeypatch.setattr(row_table, "_PART_POSITIONS", 64)
    monkeypatch.setattr(row_table, "_WORKSPACES", type(row_table._WORKSPACES)())
    monkeypatch.setattr(gather, "_PART_POSITIONS", 10)
    monkeypatch.setattr("approx.kernels.layout._COPY_BYTES", 900)
    torch.set_num_threads(threads)
    try:
        for each in (case, conv):
            assert torch.equal(each.row_table(), each.reference())
            assert torch.equal(each.gather(), each.reference())
    finally:
        torch.set_num_threads(before)


def test_a_table_changed_in_place_is_noticed() -> None:
    case = _dense(30, 16, 16, _table(255, 1000, 0))
    first = case.row_table()
    case.table += 3
    assert torch.equal(case.row_table(), first + 3 * 16)
    assert torch.equal(case.row_table(), case.reference())


def test_codes_at_any_address() -> None:
    """Torch memory taken from the middle of a buffer is not aligned; kernels must not assume it is."""
    for shift in (1, 3, 5):
        case = _dense(50, 16, 16, _table(255, 1000, 0))
        buffer = torch.zeros(50 * 16 + 8, dtype=torch.uint8)
        buffer[shift : shift + 800] = case.codes.flatten()
        case.codes = buffer[shift : shift + 800].view(50, 1, 1, 16)
        assert torch.equal(case.row_table(), case.reference())
        assert torch.equal(case.gather(), case.reference())


@pytest.mark.parametrize(("block", "pair"), [(16, True), (32, False)])
def test_kernels_compile_for_aarch64(block: int, pair: bool) -> None:
    kernel = KernelClass("aarch64", block, 16 if pair else 8, pair)
    tvm = tvm_adapter.require_tvm()
    target = tvm_adapter.isa_target("aarch64")
    library = tvm.compile(tvm.IRModule({kernel.name: row_table_kernel(kernel)}), target=target)
    assert "usra" in library.mod.inspect_source("asm")  # shift right and accumulate: the odd lanes


def test_all_block_sizes_of_every_isa_are_multiples_of_the_smallest() -> None:
    for isa in [*ISAS, "aarch64", "riscv64"]:
        for pair in (False, True):
            for outputs, products in itertools.product((1, 16, 17, 64), range(8, 400, 8)):
                blocks, k_block = row_table.block_sizes(isa, pair, outputs, products)
                assert blocks[-1] == 16 and k_block % 8 == 0
                assert all(block <= row_table._MAX_BLOCK for block in blocks) and k_block <= row_table._MAX_K_BLOCK


def test_compiled_kernels_are_shared_between_calls() -> None:
    kernel = KernelClass(tvm_adapter.host_isa(), 16, 16, True)
    functions = {id(compiled(kernel, kernel.name, kernel.isa, row_table_kernel, row_table._SCRIPT)) for _ in range(3)}
    assert len(functions) == 1
