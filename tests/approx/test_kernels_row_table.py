"""What the row-table kernel is put together from: tiles, runs of positions, passes, offsets, codes in use."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import tvm_adapter
from approx.kernels import layout, reference, row_table
from approx.kernels.geometry import conv_geometry
from approx.kernels.row_data import ENTRY_MAX, prepare
from approx.kernels.row_table_script import TILE, _transposed

ISAS = ["x86-64-v4", "x86-64-v3", "x86-64-v2"]
RUNNABLE = ISAS[ISAS.index(tvm_adapter.host_isa()) :] if tvm_adapter.host_isa() in ISAS else [tvm_adapter.host_isa()]


@pytest.fixture(params=RUNNABLE)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tvm_adapter, "host_isa", lambda: request.param)
    return request.param


def _geometry(size: tuple[int, ...], kernel: tuple[int, int], **options):
    images, height, width, channels = size
    defaults = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, **options}
    codes = torch.empty(images, height, width, channels, dtype=torch.uint8)
    return conv_geometry(codes, torch.empty(4, *kernel, channels, dtype=torch.int16), *defaults.values())


def _check(codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor, pad_code: int = 0, **options) -> None:
    """The row-table kernel equals the reference on these operands."""
    defaults = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, **options}
    shape = conv_geometry(codes, index, *defaults.values())
    data = prepare(table)
    assert data is not None
    expected = reference.table_conv2d(codes, index, table, pad_code=pad_code, **defaults)
    assert torch.equal(row_table.conv2d(codes, index, data, shape, pad_code), expected)


class _Lists:
    """Stands in for TVM's script: vectors are lists."""

    @staticmethod
    def Shuffle(vectors: list[list], lanes: list[int]) -> list:
        joined = [lane for vector in vectors for lane in vector]
        return [joined[lane] for lane in lanes]


@pytest.mark.parametrize("channels", [16, 32])
def test_a_transposed_tile_holds_one_code_of_all_channels(channels: int) -> None:
    def load(i: int) -> list[tuple[int, int]]:
        return [(i, code) for code in range(TILE)]

    for code in range(TILE):
        assert _transposed(_Lists, load, channels, code) == [(i, code) for i in range(channels)]


@pytest.mark.parametrize(
    ("size", "kernel", "options", "run", "step"),
    [
        ((5, 8, 8, 3), (3, 3), {"padding": (1, 1, 1, 1)}, 8, 3),
        ((5, 8, 8, 3), (1, 1), {}, 5 * 64, 3),  # nothing is skipped from row to row or image to image
        ((5, 8, 8, 3), (1, 1), {"stride": (2, 2)}, 4, 6),
        ((5, 8, 8, 3), (8, 1), {}, 8, 3),  # images are further apart than their only row is long
        ((5, 1, 8, 3), (1, 1), {}, 40, 3),
        ((5, 8, 1, 3), (3, 1), {}, 6, 3),  # one column: rows follow each other
        ((5, 8, 8, 3), (8, 8), {}, 5, 192),  # one position an image
        ((50, 1, 1, 24), (1, 1), {}, 50, 24),  # a matrix product
        ((1, 1, 1, 24), (1, 1), {}, 1, 24),
    ],
)
def test_the_longest_runs_of_positions_are_found(size, kernel, options, run, step) -> None:
    assert row_table._position_run(_geometry(size, kernel, **options), size[0]) == (run, step)


@given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(0, 2)] * 4),
)
def test_runs_lead_to_every_position(size, kernel, stride, padding) -> None:
    height, width = size[1] + padding[0] + padding[2], size[2] + padding[1] + padding[3]
    if kernel[0] > height or kernel[1] > width:
        return
    shape = _geometry(size, kernel, stride=stride, padding=padding)
    positions = layout.positions(shape, size[0]).long()
    run, step = row_table._position_run(shape, size[0])
    number = torch.arange(len(positions))
    assert torch.equal(positions, positions[number // run * run] + number % run * step)


@pytest.mark.parametrize("part", [1, 5, 7, 20])
def test_parts_may_cut_runs(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(row_table, "_PART_POSITIONS", part)
    monkeypatch.setattr(row_table, "_WORKSPACES", type(row_table._WORKSPACES)())
    codes, index = torch.randint(0, 256, (3, 5, 7, 4), dtype=torch.uint8), torch.randint(0, 9, (5, 3, 3, 4)).short()
    table = torch.randint(-30_000, 30_000, (9, 256), dtype=torch.int32)
    _check(codes, index, table, 77, padding=(1, 1, 1, 1))
    _check(codes, index[:, :1, :1].contiguous(), table)


@pytest.mark.parametrize("largest", [0, 15, 16, 240, 255])
def test_only_codes_in_use_are_built_and_read(isa: str, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    """Rows of codes above the largest one hold whatever an earlier layer left there."""
    table = torch.randint(-30_000, 30_000, (255, 256), dtype=torch.int32)
    sums = torch.full((row_table._PART_POSITIONS * 32,), -1).to(torch.uint32)
    left = torch.full((48 * 257 * 16,), -1).to(torch.uint32)
    monkeypatch.setattr(row_table, "_WORKSPACES", type(row_table._WORKSPACES)([(sums, left)]))
    codes = torch.randint(0, largest + 1, (2, 6, 6, 5), dtype=torch.uint8)
    codes[0, 0, 0, 0] = largest
    index = torch.randint(0, 255, (40, 3, 3, 5)).short()
    _check(codes, index, table)
    for pad_code in (0, largest, 255):
        _check(codes, index, table, pad_code, padding=(1, 1, 1, 1))


@pytest.mark.parametrize("span", [ENTRY_MAX // 2, ENTRY_MAX])
@pytest.mark.parametrize(("outputs", "fan_in"), [(16, 48), (33, 24), (48, 64), (1, 8)])
def test_every_size_of_a_pass_with_extreme_entries(isa: str, outputs: int, fan_in: int, span: int) -> None:
    """Entries are 0 or the whole span: words of 0xffff and 0 beside each other, in pairs and alone."""
    table = torch.randint(0, 2, (256, 256), dtype=torch.int32) * span
    table[:, 0], table[:, 255] = 0, span
    codes, index = torch.randint(0, 256, (40, 1, 1, fan_in)).byte(), torch.randint(0, 256, (outputs, 1, 1, fan_in))
    codes[0], codes[1] = 0, 255
    _check(codes, index.short(), table)
    _check(codes, index.short(), table - span)


def test_a_pass_pads_as_little_as_possible() -> None:
    for products in range(8, 1000, 8):
        for outputs, sizes in ((16, (16, 24, 32, 48)), (17, (16, 24, 32))):
            padding = {size: -products % size for size in sizes}
            chosen = row_table.block_sizes("x86-64-v4", False, outputs, products)[1]
            assert padding[chosen] == min(padding.values())
            assert all(size <= chosen for size in sizes if padding[size] == padding[chosen])


def test_predicted_products_are_those_of_the_padded_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """3x3 kernels over 5 channels: three runs of 15 codes, as 6 octets; 20 channels out are 32."""
    monkeypatch.setattr(tvm_adapter, "host_isa", lambda: "x86-64-v4")
    codes, index = torch.empty(1, 9, 9, 5, dtype=torch.uint8), torch.empty(20, 3, 3, 5, dtype=torch.int16)
    shape = conv_geometry(codes, index, (1, 1), (0, 0, 0, 0), (1, 1), 1)
    assert row_table.padded_products(shape) == 48 * 32


@settings(max_examples=50)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 255]),
    st.sampled_from([0, 1, 32_767, 32_768, 65_535]),
    st.sampled_from([0, 1, 1000, 2**31 - 65_536]),
)
def test_a_prepared_table_is_the_table(seed: int, n_w: int, span: int, offset: int) -> None:
    torch.manual_seed(seed)
    table = torch.randint(0, span + 1, (n_w, 256)) + torch.randint(-offset, offset + 1, (n_w, 1))
    data = prepare(table.int())
    assert data is not None
    rebuilt = data.entries.view(n_w + 1, 256).long() + data.offset[:, None].long()
    assert torch.equal(rebuilt[:n_w], table)
    assert not rebuilt[n_w].any()
    index = torch.randint(0, n_w + 1, (3, 40), dtype=torch.int16)
    assert torch.equal(data.offset_sums(index), data.offset.long()[index.long()].sum(1).to(torch.int32))
    fits = bool((data.span[index.long()].view(-1, 2).long().sum(1) <= ENTRY_MAX).all())
    assert data.pairs_fit(index) <= fits  # a pair with a row of padding may fit and be refused
    if not (index == n_w).any():
        assert data.pairs_fit(index) == fits


def _rows(*spans: int) -> torch.Tensor:
    table = torch.zeros(len(spans), 256, dtype=torch.int32)
    table[:, 3] = torch.tensor(spans)
    return table


@pytest.mark.parametrize(
    ("spans", "paired"),
    [((32_767, 5), True), ((32_768, 32_767), None), ((32_768, 32_768), False), ((65_535,), False), ((0,), True)],
)
def test_what_is_known_of_pairs_before_a_layer_is_seen(spans: tuple[int, ...], paired: bool | None) -> None:
    data = prepare(_rows(*spans))
    assert data is not None and data.paired is paired


def test_one_offset_serves_all_rows_only_where_zero_fits_too() -> None:
    """Padding is a product of 0 and has the same offset: all products and 0 must span at most 65535."""
    row = torch.arange(256, dtype=torch.int32)[None] * 200
    for shift, common in ((-300, -300), (0, 0), (5, 0), (15_000, None), (-51_000, -51_000), (-65_536, None)):
        data = prepare(torch.cat([row, row + 10]) + shift)
        assert data is not None and data.paired is False
        assert data.common == common


def test_offsets_wrap_around() -> None:
    """Products near the ends of int32 whose sums still fit: offsets alone leave int32."""
    table = torch.full((2, 256), -(2**31), dtype=torch.int32)
    table[1] = 2**31 - 1
    codes, index = torch.zeros(3, 1, 1, 16, dtype=torch.uint8), torch.tensor([0, 1] * 8, dtype=torch.int16)
    data = prepare(table)
    assert data is not None
    shape = conv_geometry(codes, index.view(1, 1, 1, 16), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    assert row_table.conv2d(codes, index.view(1, 1, 1, 16), data, shape, 0).flatten().tolist() == [-8] * 3
