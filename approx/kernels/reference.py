"""Readable table arithmetic: what every faster kernel must equal, entry for entry.

    table_matmul: out[p, o] = Σ_k table[weight_index[o, k], codes[p, k]]
    table_conv2d: the same sum over the receptive field of each output position; padding positions hold
    `pad_code`

Both work through the output in chunks, so that the working memory stays near `_WORK_ELEMENTS` int64 numbers.
"""

import torch

from .geometry import (
    ConvGeometry,
    check_accumulator,
    check_code,
    check_codes,
    check_table,
    check_weight_index,
    conv_geometry,
    pad_codes,
)

_WORK_ELEMENTS = 1 << 22


def table_matmul(codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Matrix product in which a table multiplies.

    Args:
        codes: activation codes, uint8 [P, K].
        weight_index: rows of the table, int16 or int32 [O, K].
        table: products, int32 [n_w, 256].

    Returns:
        Sums, int32 [P, O].

    Raises:
        ValueError: wrong dtype, shape, memory layout or index, or sums that may leave int32.
    """
    check_matmul(codes, weight_index, table)
    positions, outputs = len(codes), len(weight_index)
    flat_table, first = table.flatten(), weight_index.long() * 256
    total = torch.zeros(positions, outputs, dtype=torch.int32)
    rows = max(1, _WORK_ELEMENTS // max(1, outputs))
    for start in range(0, positions, rows):
        part, chunk = total[start : start + rows], codes[start : start + rows].long()
        for k in range(codes.shape[1]):
            part += flat_table[first[:, k] + chunk[:, k, None]]
    return total


def check_matmul(codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor) -> None:
    """Checks the arguments of `table_matmul`.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    check_table(table)
    check_codes(codes, "P, K")
    check_weight_index(weight_index, "O, K", len(table))
    if codes.shape[1] != weight_index.shape[1]:
        raise ValueError(
            f"expected the same K in codes [P, K] and weight_index [O, K], got {list(codes.shape)} and "
            f"{list(weight_index.shape)}"
        )
    check_accumulator(weight_index, table)


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
    shape = check_conv2d(
        codes,
        weight_index,
        table,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        pad_code=pad_code,
    )
    padded = pad_codes(codes, shape.padding, pad_code)
    flat_table, first = table.flatten(), weight_index.long() * 256
    group_start = torch.arange(shape.outputs) // shape.group_outputs * shape.group_channels
    total = torch.zeros(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    images = max(1, _WORK_ELEMENTS // (shape.out_height * shape.out_width * shape.outputs))
    for start in range(0, shape.batch, images):
        part, chunk = total[start : start + images], padded[start : start + images]
        for ky in range(shape.kernel[0]):
            top = ky * shape.dilation[0]
            rows = chunk[:, top : top + (shape.out_height - 1) * shape.stride[0] + 1 : shape.stride[0]]
            for kx in range(shape.kernel[1]):
                left = kx * shape.dilation[1]
                taps = rows[:, :, left : left + (shape.out_width - 1) * shape.stride[1] + 1 : shape.stride[1]]
                for channel in range(shape.group_channels):
                    seen = taps[..., group_start + channel].long()  # [n, Ho, Wo, O]
                    part += flat_table[first[:, ky, kx, channel] + seen]
    return total


def check_conv2d(
    codes: torch.Tensor,
    weight_index: torch.Tensor,
    table: torch.Tensor,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    pad_code: int,
) -> ConvGeometry:
    """Checks the arguments of `table_conv2d` and returns the convolution's sizes.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    check_table(table)
    check_codes(codes, "N, H, W, C")
    check_weight_index(weight_index, "O, kh, kw, C/groups", len(table))
    check_accumulator(weight_index, table)
    check_code("pad_code", pad_code)
    return conv_geometry(codes, weight_index, stride, padding, dilation, groups)
