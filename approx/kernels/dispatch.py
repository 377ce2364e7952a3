"""Chooses the kernel of a table convolution or matrix product; every choice gives the same integers."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch

from . import byte_lookup, byte_tables, depthwise, float_planes, gather, low_rank, reference, row_data, row_table
from .analysis import MAX_PLANES
from .byte_tables import ByteTables
from .compiled import kernel_problem
from .cost_factors import cost_factors
from .factorisation import Factorisation
from .geometry import ConvGeometry, conv_geometry
from .remembered import Remembered
from .row_data import RowData

# Measured on one Zen 5 core with AVX-512 (benchmarks/kernels.py); only their ratios matter.
_BUILD_NS = 6.0  # builds the row table of one weight
_ADD_NS = 0.01  # adds one product
_GATHER_NS = 0.8  # looks one product up
_DOT_NS = {8: 0.0024, 16: 0.0055}  # adds one product of a plane, in dot products of so many bits
_DEPTHWISE_NS = 0.3  # adds a register of products of a plane of a depthwise layer
_PACK_NS = 0.8  # packs one weight of a plane
_MAP_NS = 0.1  # maps one code of a plane: 0.03 with byte look-ups, 0.25 without
_SUM_NS = 0.4  # adds g of one code
_FLOAT_NS = 0.02  # adds one product of a plane in floating point
_FLOAT_CODE_NS = 1.0  # maps one code, or converts one sum, of a plane for that
_TORCH_WEIGHT_NS = 3.0  # looks one weight of a plane up with torch
_CALL_NS = 12_000.0  # calls one kernel, with what Python does for it


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
    if not _can_serve(table):
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
    if _can_serve(table):
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
    path, prepared = cheapest(table, shape)
    return path.kernel.conv2d(codes, weight_index, prepared, shape, pad_code)


def _gather_ns(shape: ConvGeometry, _: torch.Tensor | None = None) -> float:
    return 2 * _CALL_NS + _positions(shape) * shape.outputs * shape.fan_in * _GATHER_NS


def _row_table_ns(shape: ConvGeometry, _: RowData | None = None) -> float:
    products, calls = row_table.padded_products(shape), 4 + shape.groups
    return calls * _CALL_NS + products * (_BUILD_NS + _positions(shape) * _ADD_NS)


def _low_rank_ns(shape: ConvGeometry, factors: Factorisation) -> float:
    products, calls = low_rank.padded_products(shape), 5 + shape.groups
    weight_ns, product_ns = _PACK_NS, _DOT_NS[low_rank.dot_bits()]
    if depthwise.serves(shape):
        products, calls = shape.outputs * shape.fan_in, 5
        weight_ns, product_ns = _TORCH_WEIGHT_NS, _DEPTHWISE_NS / low_rank.lanes()
    codes = shape.batch * shape.padded_height * shape.padded_width * shape.channels
    plane_ns = products * (weight_ns + _positions(shape) * product_ns) + codes * _MAP_NS
    return calls * _CALL_NS + factors.planes * plane_ns + codes * _SUM_NS * bool(factors.g.any())


def _byte_lookup_ns(shape: ConvGeometry, tables: ByteTables) -> float:
    return 4 * _CALL_NS + byte_lookup.nanoseconds(shape, tables)


def _float_planes_ns(shape: ConvGeometry, factors: Factorisation) -> float:
    codes, sums = shape.batch * shape.height * shape.width * shape.channels, _positions(shape) * shape.outputs
    products_ns = shape.fan_in * (sums * _FLOAT_NS + shape.outputs * _TORCH_WEIGHT_NS)
    plane_ns = 2 * _CALL_NS + products_ns + (codes + sums) * _FLOAT_CODE_NS
    return 4 * _CALL_NS + (factors.planes + bool(factors.g.any())) * plane_ns


def _positions(shape: ConvGeometry) -> int:
    return shape.batch * shape.out_height * shape.out_width


@dataclass(frozen=True)
class Path:
    """One way to compute a layer.

    Attributes:
        kernel: the module whose `conv2d` does it.
        prepare: makes what `conv2d` takes instead of the table; None for a table it cannot serve.
        nanoseconds: time of a shape and what `prepare` made, on one thread of the machine the constants are from.
    """

    kernel: ModuleType
    prepare: Callable[[torch.Tensor], Any]
    nanoseconds: Callable[[ConvGeometry, Any], float]

    @property
    def name(self) -> str:
        """The module's name."""
        return self.kernel.__name__.rpartition(".")[2]


PATHS = (
    Path(gather, lambda table: table, _gather_ns),  # any table
    Path(byte_lookup, byte_tables.prepare, _byte_lookup_ns),  # any table, on a machine with byte look-ups
    Path(row_table, row_data.prepare, _row_table_ns),  # rows that span at most 65535
    Path(low_rank, low_rank.prepare, _low_rank_ns),  # tables of few planes, on a machine with a dot product
    Path(float_planes, float_planes.prepare, _float_planes_ns),  # tables of few planes; last: it needs no kernel
)


@Remembered
def _prepared(table: torch.Tensor) -> list[Any]:
    """The table as every path takes it: one comparison a call finds all of them again."""
    return [path.prepare(table) for path in PATHS]


def cheapest(table: torch.Tensor, shape: ConvGeometry) -> tuple[Path, Any]:
    """The path that is predicted to be fastest, and the table as that path takes it.

    Args:
        table: products, int32 [n_w, 256].
        shape: the convolution's sizes.
    """
    usable = [(path, made) for path, made in zip(PATHS, _prepared(table), strict=True) if made is not None]
    if kernel_problem() is not None:
        usable = usable[-1:]
    best = min(usable, key=lambda each: predicted_ns(each[0], shape, each[1]))
    if best[0].kernel is gather and _row_table_ns(shape) < _gather_ns(shape):
        _warn_once(
            "a product table uses the gather kernel, many times slower: the row-table kernel expects rows "
            f"that span at most {row_data.ENTRY_MAX}, got one that spans {row_data.row_span(table)}, and the table has "
            f"no exact factorisation of at most {MAX_PLANES} planes"
        )
    return best


def predicted_ns(path: Path, shape: ConvGeometry, prepared: Any) -> float:
    """Predicted time of a path on one thread of this machine, by what was measured here (`cost_factors.py`)."""
    return path.nanoseconds(shape, prepared) * cost_factors().get(path.name, 1.0)


def _can_serve(table: torch.Tensor) -> bool:
    """Whether some path serves a table: without kernels, one that factorises is served by torch's convolutions."""
    problem = kernel_problem()
    if problem is None:
        return True
    if _prepared(table)[-1] is not None:
        _warn_once(f"table arithmetic runs in floating-point convolutions, several times slower: {problem}")
        return True
    _warn_once(f"table arithmetic runs at the speed of its readable reference: {problem}")
    return False


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
