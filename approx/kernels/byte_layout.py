"""Where the operands of a byte look-up lie: 64 indices that meet the same row of products, side by side.

There are two ways to find them:

- Lanes are positions: the weight (o, k) chooses a row of the table, in which the codes of adjacent positions of one
  channel are looked up. The codes are laid out channel by channel for that.
- Lanes are output channels: the code (p, k) chooses a column of the table, in which the weights k of adjacent output
  channels are looked up. The weights are transposed for that.

Lanes that no output needs (padding between lines, the rest of a block) are computed and dropped.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from math import ceil
from pathlib import Path

import torch

from .. import tvm_adapter
from . import byte_transpose_script
from .byte_lookup_script import LANES
from .byte_tables import FEATURE, ByteRows
from .byte_transpose_script import TILE_ROWS, TransposeClass, transpose_kernel
from .compiled import compiled
from .geometry import ConvGeometry, pad_codes
from .low_rank_operands import parts
from .parallel import run_parallel

_SCRIPT = Path(byte_transpose_script.__file__)
_ROOM = 4 * LANES  # bytes a kernel may read beyond the last index


@dataclass(frozen=True)
class Lines:
    """How positions, or codes of one phase, lie in a row of bytes.

    Attributes:
        images: images.
        lines: lines of an image, of which the first `height` count.
        height: see above.
        pitch: bytes of a line, of which the first `width` count.
        width: see above.
    """

    images: int
    lines: int
    height: int
    pitch: int
    width: int

    @property
    def lanes(self) -> int:
        """Bytes from the first that counts to the last."""
        return ((self.images - 1) * self.lines + self.height - 1) * self.pitch + self.width


@dataclass(frozen=True, eq=False)
class LookupOperands:
    """Operands of `byte_lookup_script.lookup_kernel`.

    Attributes:
        rows: rows of products.
        select: uint8, int16 or int32 [rows, K], which of them each product is found in.
        index: uint8, what is looked up.
        tap: int64 [K], where the indices of each product start.
        lines: where the outputs of a row lie.
        lanes_are_positions: see the module.
        group_bytes: bytes from one group of rows to the next, of the indices.
        group_rows: rows of a group.
    """

    rows: ByteRows
    select: torch.Tensor
    index: torch.Tensor
    tap: torch.Tensor
    lines: Lines
    lanes_are_positions: bool
    group_bytes: int = 0
    group_rows: int = 1


def lanes_of_positions(shape: ConvGeometry, images: int) -> Lines:
    """Where positions lie: the padding to the right of a line is that to the left of the next, and the padding below
    an image is that above the next."""
    (top, left, bottom, right), (down, across) = shape.padding, shape.stride
    lines = max(ceil((shape.height + max(top, bottom)) / down), shape.out_height)
    pitch = max(ceil((shape.width + max(left, right)) / across), shape.out_width)
    return Lines(images, lines, shape.out_height, pitch, shape.out_width)


def lanes_of_outputs(shape: ConvGeometry) -> Lines:
    """Where output channels lie."""
    return Lines(1, 1, 1, shape.outputs, shape.outputs)


def by_position(
    codes: torch.Tensor, weight_index: torch.Tensor, rows: ByteRows, shape: ConvGeometry, pad_code: int
) -> LookupOperands:
    """Operands whose rows are output channels and whose lanes are positions.

    With a stride of 2 the even columns of the codes lie side by side, then the odd ones, so that adjacent positions
    read adjacent codes; lines likewise: one phase after another.
    """
    lines, (down, across) = lanes_of_positions(shape, len(codes)), shape.stride
    phases = _phases(codes, shape, lines, pad_code)
    phase = phases.shape[2] * lines.pitch
    return LookupOperands(
        rows,
        weight_index.view(shape.outputs, -1),
        _transposed(phases.view(-1, shape.channels)),
        _taps(shape, lines.pitch, phase),
        lines,
        lanes_are_positions=True,
        group_bytes=down * across * phase * shape.group_channels,
        group_rows=shape.group_outputs,
    )


@lru_cache(maxsize=64)
def _taps(shape: ConvGeometry, pitch: int, phase: int) -> torch.Tensor:
    """Where the codes of the first position's products lie, int64 [K], in phases of so many bytes."""
    down, across = shape.stride
    y, x = (torch.arange(shape.kernel[axis]) * shape.dilation[axis] for axis in (0, 1))
    line = y % down * across * phase + y // down * pitch
    column = x % across * phase + x // across
    channel = torch.arange(shape.group_channels) * (down * across * phase)
    return (line[:, None, None] + column[:, None] + channel).flatten()


def _phases(codes: torch.Tensor, shape: ConvGeometry, lines: Lines, pad_code: int) -> torch.Tensor:
    """Padded codes, uint8 [down, across, lines, columns, C]; room for a line beyond the last receptive field."""
    (top, left, _, _), (down, across) = shape.padding, shape.stride
    count = len(codes) * lines.lines
    beyond = max(0, ceil(shape.padded_height / down) + 1 - lines.lines, ceil(TILE_ROWS / lines.pitch) - count)
    phases = codes.new_full((down, across, count + beyond, lines.pitch, shape.channels), pad_code)
    images = phases[:, :, :count].unflatten(2, (len(codes), lines.lines))
    for i in range(down):
        for j in range(across):
            y, x = (i - top) % down, (j - left) % across  # first code of the phase
            part = codes[:, y::down, x::across]
            line, column = (y + top) // down, (x + left) // across
            images[i, j, :, line : line + part.shape[1], column : column + part.shape[2]] = part
    return phases


def by_output(
    codes: torch.Tensor, weight_index: torch.Tensor, rows: ByteRows, shape: ConvGeometry, pad_code: int
) -> LookupOperands:
    """Operands whose rows are positions and whose lanes are output channels; one group, weight indices below 256."""
    padded = pad_codes(codes, shape.padding, pad_code)
    image, line, pixel, _ = padded.stride()
    (down, across), (below, beside) = shape.stride, shape.dilation
    fields = padded.as_strided(
        (len(codes), shape.out_height, shape.out_width, *shape.kernel, shape.channels),
        (image, down * line, across * pixel, below * line, beside * pixel, 1),
    )
    return LookupOperands(
        rows,
        fields.reshape(-1, shape.fan_in).contiguous(),  # a view where steps leave a single line or column
        _transposed(weight_index.view(shape.outputs, -1)),
        torch.arange(shape.fan_in) * shape.outputs,
        lanes_of_outputs(shape),
        lanes_are_positions=False,
    )


def isa() -> str:
    """Instruction set with the feature these kernels need."""
    return f"{tvm_adapter.host_isa()}+{FEATURE}"


def _transposed(matrix: torch.Tensor) -> torch.Tensor:
    """Lowest bytes of a matrix [rows, columns] as uint8 [columns, rows], flat, with room to read beyond the last."""
    kernel = TransposeClass(isa(), str(matrix.dtype).removeprefix("torch."))
    function = compiled(kernel, kernel.name, kernel.isa, transpose_kernel, _SCRIPT)
    target = torch.empty(matrix.numel() + _ROOM, dtype=torch.uint8)
    run_parallel([partial(function, matrix, target, *part) for part in parts(ceil(len(matrix) / TILE_ROWS))])
    return target
