"""Where the operands of a convolution lie in memory: addresses instead of a copy of every receptive field
(im2col).

A kernel reads the code of output position p and tap t at byte `position[p] + tap[t]` of the padded input, so
one kernel serves every kernel size, stride, dilation and group, and a matrix product as well (a 1x1
convolution of 1x1 images).
"""

from collections.abc import Iterator
from functools import lru_cache

import torch

from .geometry import INT32_MAX, ConvGeometry, pad_codes

READ_AHEAD = 8  # bytes a kernel may read beyond the last code
_COPY_BYTES = 1 << 26  # of padded codes at a time


def image_chunks(shape: ConvGeometry, copies: int | None = None) -> Iterator[tuple[int, int]]:
    """(first image, images) of parts of the batch whose addresses fit 32 bits and whose padded copies stay
    small.

    Args:
        shape: the convolution's sizes.
        copies: bytes that are kept for one padded code; by default 1 with padding, 0 without.

    Raises:
        ValueError: a single image is too large for 32-bit addresses.
    """
    image_bytes = shape.padded_height * shape.padded_width * shape.channels
    image_sums = shape.out_height * shape.out_width * shape.outputs
    if max(image_bytes + READ_AHEAD, image_sums) > INT32_MAX:
        raise ValueError(
            f"expected at most {INT32_MAX} bytes and outputs an image (32-bit addresses), got an image of "
            f"{image_bytes} padded bytes with {image_sums} outputs; split the image"
        )
    copies = any(shape.padding) if copies is None else copies
    limit = _COPY_BYTES // copies if copies else INT32_MAX - READ_AHEAD
    images = max(1, min(limit // image_bytes, INT32_MAX // image_sums, shape.batch))
    for start in range(0, shape.batch, images):
        yield start, min(images, shape.batch - start)


def padded_bytes(codes: torch.Tensor, shape: ConvGeometry, pad_code: int, read_ahead: bool) -> torch.Tensor:
    """Padded codes as one row of bytes, uint8 [N * H * W * C], the input itself where nothing has to be
    added.

    Args:
        codes: uint8 [N, H, W, C].
        shape: holds the padding.
        pad_code: code at padding positions.
        read_ahead: whether `READ_AHEAD` more bytes must be readable.
    """
    flat = pad_codes(codes, shape.padding, pad_code).reshape(-1)
    return torch.nn.functional.pad(flat, (0, READ_AHEAD)) if read_ahead else flat


def positions(shape: ConvGeometry, images: int) -> torch.Tensor:
    """Byte at which the receptive field of every output position starts, int32 [images * Ho * Wo]."""
    padded = (images, shape.padded_height, shape.padded_width, shape.channels)
    return _positions(padded, shape.out_height, shape.out_width, shape.stride)


@lru_cache(maxsize=16)
def _positions(
    padded: tuple[int, int, int, int], out_height: int, out_width: int, stride: tuple[int, int]
) -> torch.Tensor:
    images, height, width, channels = padded
    image = torch.arange(images, dtype=torch.int32)[:, None, None] * height
    row = torch.arange(out_height, dtype=torch.int32)[:, None] * stride[0]
    column = torch.arange(out_width, dtype=torch.int32) * stride[1]
    return (((image + row) * width + column) * channels).flatten()


def run_length(shape: ConvGeometry) -> int:
    """Codes that lie side by side in the receptive field: a kernel row if possible, else a tap's channels."""
    if shape.groups == 1 and (shape.dilation[1] == 1 or shape.kernel[1] == 1):
        return shape.group_channels * shape.kernel[1]
    return shape.group_channels


def tap_offsets(shape: ConvGeometry, run: int, step: int) -> list[int]:
    """Byte offset, from its position, of every `step`-th code of every run of `run` adjacent codes.

    A run holds the channels of one tap, or of a whole kernel row where `run` is kw * C.
    """
    row_step = shape.dilation[0] * shape.padded_width * shape.channels
    column_step = shape.dilation[1] * shape.channels
    columns = shape.kernel[0] * shape.kernel[1] * shape.group_channels // (run * shape.kernel[0])
    return [
        ky * row_step + kx * column_step + start
        for ky in range(shape.kernel[0])
        for kx in range(columns)
        for start in range(0, run, step)
    ]
