"""Gather convolution: one look-up a product, for what the row-table kernel cannot do or does not pay for.

That is: tables whose rows span more than 16 bits, depthwise layers (a row of one channel saves nothing), and
layers with too few positions to be worth building row tables.
"""

from functools import partial
from math import ceil
from pathlib import Path

import torch

from .. import tvm_adapter
from . import gather_script, layout
from .compiled import compiled
from .gather_script import GatherClass, gather_kernel
from .geometry import ConvGeometry
from .parallel import Task, run_parallel

_SCRIPT = Path(gather_script.__file__)
_PART_POSITIONS = 512  # output rows that stay in the first-level cache while the channels pass over them
_PARTS_A_THREAD = 4


def conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, table: torch.Tensor, shape: ConvGeometry, pad_code: int
) -> torch.Tensor:
    """Convolution of checked arguments (see `dispatch.table_conv2d`).

    Args:
        codes: uint8 [N, H, W, C].
        weight_index: int16 or int32 [O, kh, kw, C/groups].
        table: int32 [n_w, 256], any entries.
        shape: the convolution's sizes.
        pad_code: code at padding positions.

    Returns:
        Sums, int32 [N, Ho, Wo, O].

    Raises:
        ValueError: a single image is too large for 32-bit addresses.
        ImportError: TVM cannot be used.
    """
    kernel = GatherClass(tvm_adapter.host_isa())
    function = compiled(kernel, kernel.name, kernel.isa, gather_kernel, _SCRIPT)
    tap = torch.tensor(layout.tap_offsets(shape, max(1, shape.group_channels), 1), dtype=torch.int32)
    first = weight_index.reshape(shape.outputs, -1).to(torch.int32) * 256
    out = torch.empty(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    for start, images in layout.image_chunks(shape):
        chunk = layout.padded_bytes(codes[start : start + images], shape, pad_code, False)
        position = layout.positions(shape, images)
        part = out[start : start + images].view(-1, shape.outputs)
        operands = (
            chunk,
            position,
            tap,
            first,
            table.flatten(),
            part,
            shape.group_outputs,
            shape.group_channels,
        )
        run_parallel(_tasks(partial(function, *operands), len(position), shape.outputs))
    return out


def _tasks(call: partial[None], positions: int, outputs: int) -> list[Task]:
    """Blocks of positions, and of outputs too where there are too few positions to keep every thread busy."""
    position_parts = ceil(positions / _PART_POSITIONS)
    wanted = torch.get_num_threads() * _PARTS_A_THREAD if torch.get_num_threads() > 1 else 1
    columns = ceil(outputs / min(outputs, ceil(wanted / max(1, position_parts))))
    return [
        partial(call, row, min(row + _PART_POSITIONS, positions), column, min(column + columns, outputs))
        for row in range(0, positions, _PART_POSITIONS)
        for column in range(0, outputs, columns)
    ]
