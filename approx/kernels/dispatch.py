"""Chooses the kernel of a table convolution or matrix product; every choice gives the same integers."""

import warnings
from functools import cache

import torch

from .. import tvm_adapter
from . import gather, reference, row_table
from .geometry import ConvGeometry, conv_geometry
from .row_data import ENTRY_MAX, RowData, prepare, row_span

# Measured on one Zen 5 core with AVX-512 (benchmarks/kernels.py); only their ratios matter.
_BUILD_NS = 12.0  # builds the row table of one weight
_ADD_NS = 0.012  # adds one product
_GATHER_NS = 0.7  # looks one product up


def table_matmul(codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Matrix product in which a table multiplies: out[p, o] = Σ_k table[weight_index[o, k], codes[p, k]].

    Args:
        codes: activation codes, uint8 [P, K].
        weight_index: rows of the table, int16 or int32 [O, K].
        table: products, int32 [n_w, 256].

    Returns:
        Sums, int32 [P, O].

    Raises:
        ValueError: wrong dtype, shape, memory layout or index, or sums that may leave int32.
    """
    reference.check_matmul(codes, weight_index, table)
    (positions, fan_in), outputs = codes.shape, len(weight_index)
    if min(positions, fan_in, outputs) == 0:
        return torch.zeros(positions, outputs, dtype=torch.int32)
    if not _can_compile():
        return reference.table_matmul(codes, weight_index, table)
    pixels, taps = codes.view(positions, 1, 1, fan_in), weight_index.view(outputs, 1, 1, fan_in)
    shape = conv_geometry(pixels, taps, (1, 1), (0, 0, 0, 0), (1, 1), 1)
    return _conv2d(pixels, taps, table, shape, 0).view(positions, outputs)


def table_conv2d(
    codes: torch.Tensor,
    weight_index: torch.Tensor,
    table: torch.Tensor,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    pad_code: int,
) -> torch.Tensor:
    """Two-dimensional convolution in which a table multiplies.

    Args:
        codes: activation codes, uint8 [N, H, W, C] (channels last).
        weight_index: rows of the table, int16 or int32 [O, kh, kw, C/groups].
        table: products, int32 [n_w, 256].
        stride: (vertical, horizontal) steps.
        padding: positions added at (top, left, bottom, right).
        dilation: (vertical, horizontal) distance of taps.
        groups: independent parts of the channels.
        pad_code: code that padding positions hold, the input's zero point.

    Returns:
        Sums, int32 [N, Ho, Wo, O].

    Raises:
        ValueError: wrong dtype, shape, memory layout, index or geometry, or sums that may leave int32.
    """
    shape = reference.check_conv2d(
        codes,
        weight_index,
        table,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        pad_code=pad_code,
    )
    if shape.batch == 0 or shape.fan_in == 0:
        return torch.zeros(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    if _can_compile():
        return _conv2d(codes, weight_index, table, shape, pad_code)
    return reference.table_conv2d(
        codes,
        weight_index,
        table,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        pad_code=pad_code,
    )


def _conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor, shape: ConvGeometry, pad_code: int
) -> torch.Tensor:
    if prefers_gather(shape):
        return gather.conv2d(codes, weight_index, table, shape, pad_code)
    data = _row_data(table)
    if data is None:
        return gather.conv2d(codes, weight_index, table, shape, pad_code)
    return row_table.conv2d(codes, weight_index, data, shape, pad_code)


def prefers_gather(shape: ConvGeometry) -> bool:
    """Whether looking every product up is cheaper than building row tables: few positions, or depthwise."""
    positions = shape.batch * shape.out_height * shape.out_width
    gather_ns = positions * shape.outputs * shape.fan_in * _GATHER_NS
    row_ns = row_table.padded_products(shape) * (_BUILD_NS + positions * _ADD_NS)
    return gather_ns < row_ns


def _row_data(table: torch.Tensor) -> RowData | None:
    """The prepared table; None, with a warning that says why, if the row-table kernel cannot hold it."""
    data = prepare(table)
    if data is None:
        _warn_once(
            "a product table uses the gather kernel, many times slower: the row-table kernel expects rows "
            f"that span at most {ENTRY_MAX}, got one that spans {row_span(table)}"
        )
    return data


def _can_compile() -> bool:
    problem = tvm_adapter.tvm_problem()
    if problem is not None:
        _warn_once(f"table arithmetic runs at the speed of its readable reference: {problem}")
    return problem is None


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
