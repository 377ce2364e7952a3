"""Byte look-ups: any table, for layers where a product row serves few output channels or few positions.

That is: depthwise layers and groups of few channels, small maps, fully connected layers of a few samples, and tables
whose rows span more than 16 bits. It needs AVX-512 VBMI.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from math import ceil, inf
from pathlib import Path

import torch

from . import byte_lookup_script, layout
from .byte_layout import Lines, LookupOperands, by_output, by_position, isa, lanes_of_outputs, lanes_of_positions
from .byte_lookup_script import LANES, ROWS, LookupClass, lookup_kernel
from .byte_tables import ByteTables
from .compiled import compiled
from .geometry import ConvGeometry
from .low_rank_operands import parts
from .parallel import Task, run_parallel

_SCRIPT = Path(byte_lookup_script.__file__)
_COPIES = 64  # of a padded code that a chunk has room for: those of a mebibyte of codes stay in the second-level cache
# Measured on one Zen 5 core:
_REGISTER_NS = {4: 0.55, 2: 0.75, 1: 1.25}  # looks one register up in one plane, by the registers that share a table
_MOST_WORDS = 16  # registers of sums that LLVM keeps: two for each register and plane
_LAYOUT_NS = 0.1  # lays one code or weight out
_FIELD_NS = 0.3  # lays one code out for lanes that are output channels
_SUM_NS = 0.15  # widens, transposes and stores one sum


def conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, tables: ByteTables, shape: ConvGeometry, pad_code: int
) -> torch.Tensor:
    """Convolution of checked arguments (see `dispatch.table_conv2d`).

    Args:
        codes: uint8 [N, H, W, C].
        weight_index: int16 or int32 [O, kh, kw, C/groups].
        tables: the prepared table.
        shape: the convolution's sizes; fan-in at least 1.
        pad_code: code at padding positions.

    Returns:
        Sums, int32 [N, Ho, Wo, O].

    Raises:
        ValueError: a single image is too large for 32-bit addresses.
        ImportError: TVM cannot be used.
    """
    out = torch.empty(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    position_ns, output_ns = _predicted(shape, tables)
    for start, images in layout.image_chunks(shape, _COPIES):
        chunk = codes[start : start + images]
        if tables.by_code is not None and output_ns < position_ns:
            operands = by_output(chunk, weight_index, tables.by_code, shape, pad_code)
        else:
            operands = by_position(chunk, weight_index, tables.by_weight, shape, pad_code)
        run_parallel(_tasks(operands, out[start : start + images].view(-1, shape.outputs)))
    return out


def nanoseconds(shape: ConvGeometry, tables: ByteTables) -> float:
    """Predicted time of `conv2d` on one thread, calls not counted."""
    return min(_predicted(shape, tables))


def _predicted(shape: ConvGeometry, tables: ByteTables) -> tuple[float, float]:
    """Times with lanes that are positions, and with lanes that are output channels (infinite where they cannot be)."""
    position_ns = _position_ns(shape, tables.by_weight.planes)
    if tables.by_code is None or shape.groups > 1:
        return position_ns, inf
    return position_ns, _output_ns(shape, tables.by_code.planes)


@lru_cache(maxsize=256)
def _position_ns(shape: ConvGeometry, planes: int) -> float:
    lines = lanes_of_positions(shape, shape.batch)
    codes = lines.lines * lines.pitch * shape.stride[0] * shape.stride[1] * shape.batch * shape.channels
    lookups_ns = shape.fan_in * planes * _row_ns(lines, planes) + lines.lanes * _SUM_NS
    return shape.outputs * lookups_ns + codes * _LAYOUT_NS


@lru_cache(maxsize=256)
def _output_ns(shape: ConvGeometry, planes: int) -> float:
    positions = shape.batch * shape.out_height * shape.out_width
    product_ns = planes * _row_ns(lanes_of_outputs(shape), planes) + _FIELD_NS
    weights_ns = shape.outputs * shape.fan_in * _LAYOUT_NS
    return weights_ns + positions * (shape.fan_in * product_ns + shape.outputs * _SUM_NS)


def _row_ns(lines: Lines, planes: int) -> float:
    """Time to look all lanes of a row up in one plane."""
    registers = _registers(lines, planes)
    return ceil(lines.lanes / (registers * LANES)) * registers * _REGISTER_NS[registers]


def possible_registers(planes: int) -> list[int]:
    """Numbers of registers of a block for entries of so many bytes: those whose words fit the processor's registers."""
    return [size for size in _REGISTER_NS if 2 * size * planes <= _MOST_WORDS]


def _registers(lines: Lines, planes: int) -> int:
    """Registers of a block, the fastest number."""
    return min(
        possible_registers(planes), key=lambda size: ceil(lines.lanes / (size * LANES)) * size * _REGISTER_NS[size]
    )


def _tasks(operands: LookupOperands, out: torch.Tensor) -> Iterator[Task]:
    """Kernel calls of all blocks, each with workspaces of its own."""
    lines, planes = operands.lines, operands.rows.planes
    registers = _registers(lines, planes)
    select = str(operands.select.dtype).removeprefix("torch.")
    kernel = LookupClass(isa(), planes, registers, select, operands.lanes_are_positions)
    function = compiled(kernel, kernel.name, kernel.isa, lookup_kernel, _SCRIPT)
    tensors = operands.rows.entries, operands.rows.offset, operands.select, operands.index, operands.tap, out
    place = lines.lanes, lines.pitch, lines.width, lines.lines, lines.height
    lanes, groups = registers * LANES, (operands.group_bytes, operands.group_rows)
    for part in parts(ceil(len(operands.select) / ROWS) * ceil(lines.lanes / lanes)):
        base, words = torch.empty(1, dtype=torch.uint32), torch.empty(lanes * planes, dtype=torch.uint16)
        sums, tile = (torch.empty(*size, dtype=torch.uint32) for size in ((ROWS, lanes), (lanes, ROWS)))
        yield partial(function, *tensors, base, words, sums, tile, *groups, *place, *part)
