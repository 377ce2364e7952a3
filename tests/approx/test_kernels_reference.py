"""The readable reference against plain numpy loops and against fp64 convolution, and its refusals."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.kernels import reference

PRODUCTS = (torch.arange(-127, 128)[:, None] * torch.arange(256)).int()


def _loops(codes, weight_index, table, stride, padding, dilation, groups, pad_code):
    """The definition: one look-up at a time, positions outside the image holding pad_code."""
    n, height, width, _ = codes.shape
    outputs, kh, kw, group_channels = weight_index.shape
    top, left, bottom, right = padding
    ho = (height + top + bottom - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    wo = (width + left + right - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((n, ho, wo, outputs), np.int64)
    for b, y, x, o in np.ndindex(*out.shape):
        for ky, kx, c in itertools.product(range(kh), range(kw), range(group_channels)):
            row, column = y * stride[0] + ky * dilation[0] - top, x * stride[1] + kx * dilation[1] - left
            inside = 0 <= row < height and 0 <= column < width
            channel = o // (outputs // groups) * group_channels + c
            code = codes[b, row, column, channel] if inside else pad_code
            out[b, y, x, o] += table[weight_index[o, ky, kx, c], code]
    return out


@settings(max_examples=40)
@given(st.data())
def test_conv2d_equals_the_definition(data: st.DataObject) -> None:
    draw = data.draw
    groups, n_w = draw(st.integers(1, 3)), draw(st.sampled_from([1, 5, 255]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    pad_code = draw(st.integers(0, 255))
    codes = rng.integers(0, 256, (2, 5, 6, 2 * groups), dtype=np.uint8)
    weight_index = rng.integers(0, n_w, (groups * draw(st.integers(1, 2)), *kernel, 2)).astype(np.int16)
    table = rng.integers(-(10**5), 10**5, (n_w, 256)).astype(np.int32)
    result = reference.table_conv2d(
        torch.from_numpy(codes),
        torch.from_numpy(weight_index),
        torch.from_numpy(table),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        pad_code=pad_code,
    )
    expected = _loops(codes, weight_index, table, stride, padding, dilation, groups, pad_code)
    np.testing.assert_array_equal(result.numpy(), expected)


def test_conv2d_with_the_exact_product_is_a_convolution() -> None:
    codes = torch.randint(0, 256, (2, 9, 8, 6), dtype=torch.uint8)
    index = torch.randint(0, 255, (4, 3, 5, 3), dtype=torch.int16)
    result = reference.table_conv2d(codes, index, PRODUCTS, stride=(2, 1), padding=(1, 2, 0, 3), groups=2, pad_code=17)
    image = F.pad(codes.permute(0, 3, 1, 2).double(), (2, 3, 1, 0), value=17)
    expected = F.conv2d(image, index.permute(0, 3, 1, 2).double() - 127, stride=(2, 1), groups=2)
    assert torch.equal(result, expected.permute(0, 2, 3, 1).int())


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = torch.randint(0, 256, (5, 4, 4, 3), dtype=torch.uint8)
    index = torch.randint(0, 255, (7, 2, 2, 3), dtype=torch.int16)
    whole = reference.table_conv2d(codes, index, PRODUCTS, pad_code=0)
    flat, rows = codes.view(-1, 3), index[:, 0, 0].contiguous()
    product = reference.table_matmul(flat, rows, PRODUCTS)
    monkeypatch.setattr(reference, "_WORK_ELEMENTS", 10)
    assert torch.equal(reference.table_conv2d(codes, index, PRODUCTS, pad_code=0), whole)
    assert torch.equal(reference.table_matmul(flat, rows, PRODUCTS), product)
    assert torch.equal(product, flat.int() @ (rows.int() - 127).T)
