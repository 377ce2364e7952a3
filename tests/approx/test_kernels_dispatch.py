"""What users call: choice of kernel, warnings, refusals."""

import pytest
import torch

from approx import tvm_adapter
from approx.kernels import (
    byte_lookup,
    byte_tables,
    dispatch,
    float_planes,
    gather,
    low_rank,
    reference,
    row_data,
    row_table,
    table_conv2d,
    table_matmul,
)
from approx.kernels.factorisation import Factorisation
from approx.kernels.geometry import ConvGeometry, conv_geometry

PRODUCTS = (torch.arange(-127, 128)[:, None] * torch.arange(256)).int()
RANDOM = torch.randint(-(2**15), 2**15, (255, 256), dtype=torch.int32, generator=torch.Generator().manual_seed(5))


def _codes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def _index(*shape: int) -> torch.Tensor:
    return torch.randint(0, 255, shape, dtype=torch.int16)


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    dispatch._warn_once.cache_clear()
    dispatch._prepared.forget()


def _spy(original, name: str, names: list[str]):
    def call(*args, **options):
        names.append(name)
        return original(*args, **options)

    return call


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels used, in order."""
    names: list[str] = []
    for module, name in (
        (gather, "conv2d"),
        (byte_lookup, "conv2d"),
        (float_planes, "conv2d"),
        (row_table, "conv2d"),
        (low_rank, "conv2d"),
        (reference, "table_conv2d"),
        (reference, "table_matmul"),
    ):
        original = getattr(module, name)

        monkeypatch.setattr(module, name, _spy(original, module.__name__.rsplit(".", 1)[-1], names))
    return names


@pytest.fixture
def no_byte_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without AVX-512 VBMI."""
    features = tuple(feature for feature in tvm_adapter.host_features() if feature != byte_tables.FEATURE)
    monkeypatch.setattr(tvm_adapter, "host_features", lambda: features)


@pytest.mark.usefixtures("no_byte_lookups")
@pytest.mark.parametrize(
    ("codes", "index", "groups", "table", "kernel"),
    [
        ((8, 16, 16, 32), (32, 3, 3, 32), 1, RANDOM, "row_table"),
        ((8, 16, 16, 32), (32, 3, 3, 32), 1, PRODUCTS, "low_rank"),
        ((1, 2, 2, 16), (64, 3, 3, 16), 1, RANDOM, "gather"),  # few positions
        ((1, 2, 2, 4), (16, 1, 1, 4), 1, PRODUCTS, "gather"),
        ((2, 12, 12, 24), (24, 3, 3, 1), 24, RANDOM, "gather"),  # depthwise
    ],
)
def test_conv2d_chooses_and_equals(chosen: list[str], codes, index, groups, table, kernel) -> None:
    x, w = _codes(*codes), _index(*index)
    result = table_conv2d(x, w, table, padding=(1, 1, 1, 1), groups=groups, pad_code=4)
    assert chosen == [kernel]
    expected = reference.table_conv2d(x, w, table, padding=(1, 1, 1, 1), groups=groups, pad_code=4)
    assert torch.equal(result, expected)


@pytest.mark.usefixtures("no_byte_lookups")
@pytest.mark.parametrize(
    ("positions", "table", "kernel"),
    [(1, PRODUCTS, "gather"), (4096, RANDOM, "row_table"), (4096, PRODUCTS, "low_rank")],
)
def test_matmul_chooses_and_equals(chosen: list[str], positions: int, table: torch.Tensor, kernel: str) -> None:
    x, w = _codes(positions, 50), _index(33, 50)
    result = table_matmul(x, w, table)
    assert chosen == [kernel]
    assert torch.equal(result, reference.table_matmul(x, w, table))


@pytest.mark.usefixtures("no_byte_lookups")
def test_wide_tables_take_the_gather_kernel_and_say_so_once(chosen: list[str]) -> None:
    x, w = _codes(8, 16, 16, 16), _index(32, 3, 3, 16)
    with pytest.warns(UserWarning, match="at most 65535, got one that spans 19[0-9]{4}, and .* at most 5 planes"):
        result = table_conv2d(x, w, RANDOM * 3, pad_code=0)
    assert torch.equal(result, 3 * table_conv2d(x, w, RANDOM, pad_code=0))
    table_conv2d(x, w, RANDOM * 3, pad_code=0)  # a second warning would be an error
    assert chosen == ["gather", "row_table", "gather"]


def test_wide_tables_that_factorise_need_no_gather(chosen: list[str]) -> None:
    x, w = _codes(8, 16, 16, 16), _index(32, 3, 3, 16)
    result = table_conv2d(x, w, PRODUCTS * 300, pad_code=0)
    assert torch.equal(result, 300 * table_conv2d(x, w, PRODUCTS, pad_code=0))
    assert chosen == ["low_rank", "low_rank"]


def test_without_a_dot_product_the_row_table_serves(chosen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank, "_isa", lambda: "riscv64")
    dispatch._prepared.forget()
    x, w = _codes(8, 16, 16, 32), _index(32, 3, 3, 32)
    assert torch.equal(table_conv2d(x, w, PRODUCTS, pad_code=0), reference.table_conv2d(x, w, PRODUCTS, pad_code=0))
    assert chosen[0] == "row_table"


@pytest.mark.parametrize(
    ("table", "kernel", "message"),
    [
        (PRODUCTS, "float_planes", "in floating-point convolutions, several times slower: apache-tvm is not installed"),
        (RANDOM, "reference", "speed of its readable reference: apache-tvm is not installed"),
    ],
)
def test_without_tvm_torch_serves_and_says_why(
    chosen: list[str], monkeypatch: pytest.MonkeyPatch, table: torch.Tensor, kernel: str, message: str
) -> None:
    monkeypatch.setattr(tvm_adapter, "tvm_problem", lambda: "apache-tvm is not installed: expected ...")
    x, w = _codes(2, 6, 6, 8), _index(16, 3, 3, 8)
    with pytest.warns(UserWarning, match=message):
        result = table_conv2d(x, w, table, pad_code=0)
    rows = table_matmul(x[:, 0, 0].contiguous(), w[:, 0, 0].contiguous(), table)
    assert chosen == [kernel, kernel]
    assert torch.equal(result, reference.table_conv2d(x, w, table, pad_code=0))
    assert torch.equal(rows, reference.table_matmul(x[:, 0, 0].contiguous(), w[:, 0, 0].contiguous(), table))


@pytest.mark.parametrize("images", [0, 1])
def test_empty_sizes(images: int) -> None:
    assert table_conv2d(_codes(0, 6, 6, 8), _index(16, 3, 3, 8), PRODUCTS, pad_code=0).shape == (0, 4, 4, 16)
    no_channels = table_conv2d(_codes(images, 6, 6, 0), _index(16, 3, 3, 0), PRODUCTS, pad_code=0)
    assert no_channels.shape == (images, 4, 4, 16) and not no_channels.any()
    assert table_matmul(_codes(0, 5), _index(3, 5), PRODUCTS).shape == (0, 3)
    assert table_matmul(_codes(4, 5), _index(0, 5), PRODUCTS).shape == (4, 0)
    assert table_matmul(_codes(4, 0), _index(3, 0), PRODUCTS).tolist() == [[0, 0, 0]] * 4


def test_results_repeat_and_inputs_stay() -> None:
    x, w = _codes(4, 9, 9, 12), _index(40, 3, 3, 12)
    copies = x.clone(), w.clone(), PRODUCTS.clone()
    first = table_conv2d(x, w, PRODUCTS, stride=(2, 2), pad_code=9)
    assert torch.equal(first, table_conv2d(x, w, PRODUCTS, stride=(2, 2), pad_code=9))
    assert all(torch.equal(a, b) for a, b in zip(copies, (x, w, PRODUCTS), strict=True))


def test_inference_mode_tensors_are_served() -> None:
    with torch.inference_mode():
        table = PRODUCTS.clone()
        x, w = _codes(512, 32), _index(32, 32)
        assert torch.equal(table_matmul(x, w, table), x.int() @ (w.int() - 127).T)


BAD_MATMUL = {
    "codes: expected uint8": lambda: (_codes(3, 4).int(), _index(2, 4), PRODUCTS),
    r"codes: expected uint8 \[P, K\], got torch.uint8 \[3\]": lambda: (_codes(3), _index(2, 3), PRODUCTS),
    "weight_index: expected int16 or int32": lambda: (_codes(3, 4), _index(2, 4).long(), PRODUCTS),
    r"table: expected int32 \[n_w, 256\]": lambda: (_codes(3, 4), _index(2, 4), PRODUCTS.long()),
    r"table: expected .* got torch.int32 \[255, 128\]": lambda: (
        _codes(3, 4),
        _index(2, 4),
        PRODUCTS[:, :128].contiguous(),
    ),
    r"codes: expected a contiguous tensor.*contiguous\(\)": lambda: (_codes(4, 3).T, _index(2, 4), PRODUCTS),
    "weight_index: expected a contiguous tensor": lambda: (_codes(3, 4), _index(4, 2).T, PRODUCTS),
    "table: expected a contiguous tensor": lambda: (_codes(3, 4), _index(2, 4), PRODUCTS.repeat(1, 2)[:, ::2]),
    "the same K": lambda: (_codes(3, 4), _index(2, 5), PRODUCTS),
    r"indices 0..254.*got 255..255": lambda: (_codes(3, 4), _index(2, 4).fill_(255), PRODUCTS),
    r"got -1..-1": lambda: (_codes(3, 4), _index(2, 4).fill_(-1), PRODUCTS),
    "codes: expected a CPU tensor, got device meta": lambda: (_codes(3, 4).to("meta"), _index(2, 4), PRODUCTS),
    "K = 33026.*may reach 2147515650.*at most 2147483647": lambda: (
        _codes(1, 33_026),
        torch.zeros(1, 33_026, dtype=torch.int16),
        torch.full((1, 256), 65_025, dtype=torch.int32),
    ),
}


@pytest.mark.parametrize("message", BAD_MATMUL)
@pytest.mark.parametrize("function", [table_matmul, reference.table_matmul])
def test_bad_matmul_arguments_are_refused(function, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(*BAD_MATMUL[message]())


BAD_CONV2D = {
    "stride: expected a tuple of two positive": {"stride": (0, 1)},
    "dilation: expected a tuple of two positive": {"dilation": [1, 1]},
    r"padding: expected a tuple of four integers >= 0 \(top, left, bottom, right\)": {"padding": (1, 1)},
    "pad_code: expected an integer code 0..255": {"pad_code": 256},
    "expected 6 channels / 2 groups": {"groups": 2},
    "groups: expected a divisor": {"groups": 0},
    r"kernel \(3, 3\) with dilation \(4, 4\) is larger than the padded input 6x6": {"dilation": (4, 4)},
}


@pytest.mark.parametrize("message", BAD_CONV2D)
@pytest.mark.parametrize("function", [table_conv2d, reference.table_conv2d])
def test_bad_conv2d_arguments_are_refused(function, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(_codes(2, 6, 6, 6), _index(4, 3, 3, 6), PRODUCTS, **{"pad_code": 0, **BAD_CONV2D[message]})


def test_a_fan_in_at_the_bound_is_served() -> None:
    x = torch.full((1, 33_025), 255, dtype=torch.uint8)
    table = torch.full((1, 256), 65_025, dtype=torch.int32)
    index = torch.zeros(1, 33_025, dtype=torch.int16)
    assert table_matmul(x, index, table).item() == 33_025 * 65_025


def test_the_bound_is_of_the_weights_used_not_of_the_table() -> None:
    table = torch.zeros(2, 256, dtype=torch.int32)
    table[1] = 2**30
    index = torch.zeros(1, 10, dtype=torch.int16)
    index[0, 0] = 1
    assert table_matmul(_codes(1, 10), index, table).item() == 2**30


def _shape(positions: int, channels: int, groups: int = 1) -> ConvGeometry:
    codes = torch.empty(positions, 1, 1, channels, dtype=torch.uint8, device="meta")
    index = torch.empty(channels, 1, 1, channels // groups, dtype=torch.int16, device="meta")
    return conv_geometry(codes, index, (1, 1), (0, 0, 0, 0), (1, 1), groups)


@pytest.mark.usefixtures("no_byte_lookups")
@pytest.mark.parametrize(
    ("shape", "kernel"),
    [(_shape(1, 64), gather), (_shape(4096, 64), row_table), (_shape(4096, 64, 64), gather)],
)
def test_the_choice_follows_the_size(shape: ConvGeometry, kernel) -> None:
    assert dispatch.cheapest(RANDOM, shape)[0].kernel is kernel


@pytest.mark.parametrize(
    ("isa", "planes"), [("x86-64-v4+avx512vnni", 3), ("x86-64-v4", 1), ("x86-64-v3+avxvnni", 3), ("x86-64-v3", 1)]
)
def test_more_planes_than_pay_take_the_row_table(monkeypatch: pytest.MonkeyPatch, isa: str, planes: int) -> None:
    """The predicted crossing of the two paths on a large layer, by dot product."""
    monkeypatch.setattr(low_rank, "_isa", lambda: isa)
    zero = torch.zeros(255, dtype=torch.int32)

    def low_rank_wins(count: int) -> bool:
        factors = Factorisation(
            zero,
            torch.zeros(256, dtype=torch.int32),
            torch.ones(count, dtype=torch.int32),
            torch.ones(count, 255, dtype=torch.int8),
            torch.ones(count, 256, dtype=torch.uint8),
        )
        made = [RANDOM, None, row_data.prepare(RANDOM), factors, None]
        monkeypatch.setattr(dispatch, "_prepared", lambda _: made)
        return dispatch.cheapest(RANDOM, _shape(100_000, 256))[0].kernel is low_rank

    assert [low_rank_wins(count) for count in (1, planes, 9)] == [True, True, False]
