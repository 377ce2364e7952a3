"""The integer arithmetic as PyTorch operators, so that graphs can hold it: `torch.compile`, `torch.export`.

    picojoule::table_conv2d, picojoule::table_matmul          `dispatch`, whose arguments and errors they share
    picojoule::fixed_point, picojoule::fixed_point_sum        `requantise`, whose numbers depend on data

Integers carry no gradient; that of a layer is in `approx.backward`.
"""

from collections.abc import Sequence

import torch

from .. import requantise
from . import dispatch
from .geometry import check_codes, check_table, conv_geometry


@torch.library.custom_op("picojoule::table_matmul", mutates_args=())
def table_matmul(codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """`dispatch.table_matmul`: codes uint8 [P, K], weight_index [O, K], table int32 [n_w, 256] -> int32 [P, O]."""
    return dispatch.table_matmul(codes, weight_index, table)


@table_matmul.register_fake
def _(codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    check_table(table)
    check_codes(codes, "P, K")
    return codes.new_empty((codes.shape[0], weight_index.shape[0]), dtype=torch.int32)


@torch.library.custom_op("picojoule::table_conv2d", mutates_args=())
def table_conv2d(
    codes: torch.Tensor,
    weight_index: torch.Tensor,
    table: torch.Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    pad_code: int,
) -> torch.Tensor:
    """`dispatch.table_conv2d`: codes uint8 [N, H, W, C], weight_index [O, kh, kw, C/groups] -> int32 [N, Ho, Wo, O]."""
    return dispatch.table_conv2d(
        codes,
        weight_index,
        table,
        stride=tuple(stride),  # type: ignore[arg-type]  # lengths are checked there
        padding=tuple(padding),  # type: ignore[arg-type]
        dilation=tuple(dilation),  # type: ignore[arg-type]
        groups=groups,
        pad_code=pad_code,
    )


@table_conv2d.register_fake
def _(
    codes: torch.Tensor,
    weight_index: torch.Tensor,
    table: torch.Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    pad_code: int,
) -> torch.Tensor:
    check_table(table)
    check_codes(codes, "N, H, W, C")
    moves = tuple(stride), tuple(padding), tuple(dilation)
    shape = conv_geometry(codes, weight_index, *moves, groups)  # type: ignore[arg-type]
    return codes.new_empty((shape.batch, shape.out_height, shape.out_width, shape.outputs), dtype=torch.int32)


@torch.library.custom_op("picojoule::fixed_point", mutates_args=())
def fixed_point(factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`requantise.fixed_point`: factor float64 [C] or [] -> multiplier, shift int64 of the same shape."""
    multiplier, shift = (torch.tensor(v, dtype=torch.int64) for v in requantise.fixed_point(factor.numpy()))
    return multiplier, shift


@fixed_point.register_fake
def _(factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(factor, dtype=torch.int64), torch.empty_like(factor, dtype=torch.int64)


@torch.library.custom_op("picojoule::fixed_point_sum", mutates_args=())
def fixed_point_sum(factors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`requantise.fixed_point_sum`: factors float64 [n] -> multipliers int64 [n], shift int64 []."""
    multipliers, shift = requantise.fixed_point_sum(tuple(factors.tolist()))
    return torch.tensor(multipliers), torch.tensor(shift)


@fixed_point_sum.register_fake
def _(factors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(factors, dtype=torch.int64), factors.new_empty((), dtype=torch.int64)
