"""Table convolutions of one to three axes against the sum written out, one product at a time."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.conv_geometry import ConvGeometry
from approx.table_convolution import table_convolution


def spelt_out(
    codes: np.ndarray, index: np.ndarray, table: np.ndarray, g: ConvGeometry, pad_code: int
) -> tuple[np.ndarray, int]:
    """Sums [N, ..., O] over receptive fields, and how many of their codes were padding."""
    axes, kernel, padding_seen = index.ndim - 2, index.shape[2:], 0
    size = [
        len(range(-g.padding[a], codes.shape[a + 1] + g.padding[axes + a] - g.dilation[a] * (kernel[a] - 1), s))
        for a, s in enumerate(g.stride)
    ]
    sums = np.zeros((len(codes), *size, len(index)), np.int64)
    for n, *position, o in itertools.product(*map(range, sums.shape)):
        group = o // (len(index) // g.groups)
        for c, *tap in itertools.product(*map(range, index.shape[1:])):
            at = [
                p * s - b + t * d for p, s, b, t, d in zip(position, g.stride, g.padding, tap, g.dilation, strict=False)
            ]
            inside = all(0 <= i < m for i, m in zip(at, codes.shape[1:-1], strict=True))
            code = codes[(n, *at, group * index.shape[1] + c)] if inside else pad_code
            padding_seen += not inside
            sums[(n, *position, o)] += table[index[(o, c, *tap)], code]
    return sums, padding_seen


@st.composite
def cases(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, ConvGeometry, int]:
    axes = draw(st.integers(1, 3))

    def numbers(low: int, high: int, count: int = axes) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    kernel, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    padding, spare = numbers(0, 2, 2 * axes), numbers(0, 3)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [max(1, r + s - padding[a] - padding[axes + a]) for a, (r, s) in enumerate(zip(reach, spare, strict=True))]
    groups, inputs, outputs = draw(st.sampled_from([(1, 2, 3), (2, 1, 2), (3, 1, 1), (1, 1, 1)]))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    codes = random.integers(0, 256, (draw(st.integers(1, 2)), *size, groups * inputs), np.uint8)
    index = random.integers(0, 7, (groups * outputs, inputs, *kernel), np.int16)
    table = random.integers(-70000, 70000, (7, 256), np.int32)
    geometry = ConvGeometry(stride, padding, dilation, groups)
    return *(torch.from_numpy(a) for a in (codes, index, table)), geometry, draw(st.integers(0, 255))


@settings(max_examples=60)
@given(cases())
def test_equals_the_sum_written_out(
    case: tuple[torch.Tensor, torch.Tensor, torch.Tensor, ConvGeometry, int],
) -> None:
    codes, index, table, geometry, pad_code = case
    wanted, _ = spelt_out(codes.numpy(), index.numpy(), table.numpy(), geometry, pad_code)
    got = table_convolution(codes, index, table, geometry, pad_code)
    assert got.dtype == torch.int32 and (got.numpy() == wanted).all() and got.shape == wanted.shape


def test_padding_in_depth_holds_the_pad_code() -> None:
    """Uneven padding on all three axes, and a table that only counts the pad code."""
    table = torch.zeros(1, 256, dtype=torch.int32)
    table[0, 9] = 1
    geometry = ConvGeometry((1, 2, 1), (2, 0, 1, 0, 1, 0), (2, 1, 1), 1)
    codes, index = torch.full((1, 3, 2, 2, 1), 7, dtype=torch.uint8), torch.zeros(1, 1, 2, 2, 3, dtype=torch.int16)
    wanted, padding_seen = spelt_out(codes.numpy(), index.numpy(), table.numpy(), geometry, 9)
    got = table_convolution(codes, index, table, geometry, 9)
    assert (got.numpy() == wanted).all() and int(got.sum()) == padding_seen > 0


def test_the_bound_of_a_sum_is_that_of_all_depth_taps() -> None:
    """Each tap alone would fit into 32 bits, their sum does not."""
    table = torch.full((1, 256), 2**29, dtype=torch.int32)
    codes, index = torch.zeros(1, 5, 1, 1, 1, dtype=torch.uint8), torch.zeros(1, 1, 5, 1, 1, dtype=torch.int16)
    geometry = ConvGeometry((1, 1, 1), (0,) * 6, (1, 1, 1))
    with pytest.raises(ValueError, match="output channel 0 over K = 5 products may reach 2684354560"):
        table_convolution(codes, index, table, geometry, 0)
    assert int(table_convolution(codes, index[:, :, :3], table, geometry, 0).max()) == 3 * 2**29


def test_a_kernel_beyond_the_input_is_refused() -> None:
    table, index = torch.zeros(1, 256, dtype=torch.int32), torch.zeros(1, 1, 5, dtype=torch.int16)
    with pytest.raises(ValueError, match="larger than the padded input"):
        table_convolution(torch.zeros(1, 3, 1, dtype=torch.uint8), index, table, ConvGeometry((1,), (0, 0), (1,)), 0)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_no_images(axes: int) -> None:
    table, index = torch.zeros(1, 256, dtype=torch.int32), torch.zeros(4, 1, *[3] * axes, dtype=torch.int16)
    geometry = ConvGeometry((1,) * axes, (1,) * 2 * axes, (1,) * axes)
    got = table_convolution(torch.zeros(0, *[5] * axes, 1, dtype=torch.uint8), index, table, geometry, 0)
    assert got.shape == (0, *[5] * axes, 4)
