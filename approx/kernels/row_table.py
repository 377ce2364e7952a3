"""Row-table convolution: any table whose rows span at most 65535, exactly, on any processor.

`row_table_script.py` holds the inner loops; this module lays the operands out for them and splits the work.
The kernel reads codes 8 at a time (an octet), so every run of adjacent codes is taken as whole octets. A run
whose length is no multiple of 8 reads a few codes too many; the weights of those are the padding index, whose
products are all zero. The same index fills output channels up to a block and octets up to a pass.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from math import ceil
from pathlib import Path

import torch

from .. import tvm_adapter
from . import layout, row_table_script
from .compiled import compiled
from .geometry import ConvGeometry
from .parallel import run_parallel
from .row_data import RowData
from .row_table_script import ROW_STRIDE, TILE, KernelClass, row_table_kernel

_SCRIPT = Path(row_table_script.__file__)
_OCTET = 8
_MAX_BLOCK, _MIN_BLOCK, _MAX_K_BLOCK = 32, 16, 48
_PART_POSITIONS = 16384  # of one kernel call: 2 MiB of sums at 32 output channels
_WORKSPACES: deque[tuple[torch.Tensor, torch.Tensor]] = deque()  # one for each thread that was ever busy


@dataclass(frozen=True)
class _Unit:
    """One output block: kernel, row of the weight matrix, columns of the output, byte shift of its codes."""

    kernel: KernelClass
    row: int
    column: int
    columns: int
    shift: int


def conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, data: RowData, shape: ConvGeometry, pad_code: int
) -> torch.Tensor:
    """Convolution of checked arguments (see `dispatch.table_conv2d`).

    Args:
        codes: uint8 [N, H, W, C].
        weight_index: int16 or int32 [O, kh, kw, C/groups].
        data: the prepared table.
        shape: the convolution's sizes; fan-in at least 1.
        pad_code: code at padding positions.

    Returns:
        Sums, int32 [N, Ho, Wo, O].

    Raises:
        ValueError: a single image is too large for 32-bit addresses.
        ImportError: TVM cannot be used.
    """
    run = layout.run_length(shape)
    weight = _weight_matrix(weight_index, run, shape, data.padding_index)
    units, octet = _plan(shape, tvm_adapter.host_isa(), data.pairs_fit(weight))
    missing = len(octet) * _OCTET - weight.shape[1]
    if missing:
        weight = torch.nn.functional.pad(weight, (0, missing), value=data.padding_index)
    offset = data.offset_sums(weight)
    out = torch.empty(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    for start, images in layout.image_chunks(shape):
        chunk = layout.padded_bytes(codes[start : start + images], shape, pad_code, run % _OCTET != 0)
        part = out[start : start + images].view(-1, shape.outputs)
        position = layout.positions(shape, images)
        used = int(chunk.max()) // TILE * TILE + TILE
        operands = chunk, position, octet, weight, data.entries, offset, part
        _run(units, operands, (used, *_position_run(shape, images)))
    return out


def padded_products(shape: ConvGeometry) -> int:
    """Products the kernel really adds for one position, with those of padded passes and channels."""
    products = len(layout.tap_offsets(shape, layout.run_length(shape), _OCTET)) * _OCTET
    _, k_block = block_sizes(tvm_adapter.host_isa(), False, shape.group_outputs, products)
    return (products + -products % k_block) * shape.groups * _padded_outputs(shape)


def block_sizes(isa: str, pair: bool, outputs: int, products: int) -> tuple[tuple[int, ...], int]:
    """Output block sizes to use, largest first, and products a pass: the fastest ones measured on Zen 5.

    Large passes load and store the sums less often; machines with AVX-512 have the caches for their tables.

    Args:
        isa: instruction set, as named by `tvm_adapter.host_isa`.
        pair: whether rows are added in pairs.
        outputs: output channels of a group.
        products: K; of the good sizes of a pass, the one that has to pad it least.
    """
    if isa == "x86-64-v4":
        sizes = (32, 24, 16) if outputs > _MIN_BLOCK else (48, 32, 24, 16)
        return (32, 16), min(sizes, key=lambda size: -products % size)
    return ((16,), 16) if pair else ((32, 16), 8)


def _padded_outputs(shape: ConvGeometry) -> int:
    return ceil(shape.group_outputs / _MIN_BLOCK) * _MIN_BLOCK


def _weight_matrix(index: torch.Tensor, run: int, shape: ConvGeometry, padding_index: int) -> torch.Tensor:
    """Weight indices as int16 [groups * rows, K], every run padded to octets and every group to 16 rows."""
    rows, width = _padded_outputs(shape), ceil(run / _OCTET) * _OCTET
    if (rows, width) == (shape.group_outputs, run):
        return index.to(torch.int16).reshape(shape.outputs, -1)
    runs = index.reshape(shape.groups, shape.group_outputs, -1, run)
    padded = torch.full((shape.groups, rows, runs.shape[2], width), padding_index, dtype=torch.int16)
    padded[:, : shape.group_outputs, :, :run] = runs
    return padded.view(shape.groups * rows, -1)


def _position_run(shape: ConvGeometry, images: int) -> tuple[int, int]:
    """(positions that follow each other at the same distance, that distance in bytes)."""
    row = shape.padded_width * shape.channels
    run, step = 1, 0
    for size, pitch in (
        (shape.out_width, shape.stride[1] * shape.channels),
        (shape.out_height, shape.stride[0] * row),
        (images, shape.padded_height * row),
    ):
        step = pitch if run == 1 else step
        if size > 1 and pitch != run * step:
            break
        run *= size
    return run, step


@lru_cache(maxsize=256)
def _plan(shape: ConvGeometry, isa: str, pair: bool) -> tuple[list[_Unit], torch.Tensor]:
    """(output blocks, byte of every octet from its position, int32 [K / 8] of whole passes)."""
    octet = layout.tap_offsets(shape, layout.run_length(shape), _OCTET)
    blocks, k_block = block_sizes(isa, pair, shape.group_outputs, len(octet) * _OCTET)
    octet += [0] * (-len(octet) % (k_block // _OCTET))
    units = list(_units(shape, blocks, partial(KernelClass, isa=isa, k_block=k_block, pair=pair)))
    return units, torch.tensor(octet, dtype=torch.int32)


def _units(shape: ConvGeometry, blocks: tuple[int, ...], kernel: Callable[..., KernelClass]) -> Iterator[_Unit]:
    """Splits the output channels of every group into blocks."""
    rows = _padded_outputs(shape)
    for group in range(shape.groups):
        done = 0
        while done < rows:
            block = next(size for size in blocks if size <= rows - done)
            yield _Unit(
                kernel(output_block=block),
                row=group * rows + done,
                column=group * shape.group_outputs + done,
                columns=min(block, shape.group_outputs - done),
                shift=group * shape.group_channels,
            )
            done += block


def _run(units: list[_Unit], operands: tuple[torch.Tensor, ...], sizes: tuple[int, ...]) -> None:
    """Calls the kernels of all output blocks on all positions, in parallel; `sizes` are their last arguments."""
    positions = len(operands[1])
    size = ceil(positions / part_count(positions, len(units), torch.get_num_threads())) if positions else 1
    tasks = []
    for unit in units:
        kernel = unit.kernel
        function = compiled(kernel, kernel.name, kernel.isa, row_table_kernel, _SCRIPT)
        for first in range(0, positions, size):
            place = (first, min(first + size, positions), unit.row, unit.column, unit.columns, unit.shift, *sizes)
            tasks.append(partial(_call, function, operands, place))
    run_parallel(tasks)


def part_count(positions: int, units: int, threads: int) -> int:
    """Parts to split the positions into: as few as keep the sums small and the threads evenly busy within 10
    %.

    Every part builds its own row tables, which costs as much as about seven hundred positions.
    """
    fewest = max(1, ceil(positions / _PART_POSITIONS))

    def idle(parts: int) -> float:
        return ceil(parts * units / threads) * threads / (parts * units) - 1

    candidates = range(fewest, fewest + threads)
    return next((parts for parts in candidates if idle(parts) <= 0.1), min(candidates, key=idle))


def _call(function: Callable[..., None], operands: tuple[torch.Tensor, ...], place: tuple[int, ...]) -> None:
    """One kernel call, with a workspace that no other thread uses meanwhile."""
    try:
        workspaces = _WORKSPACES.pop()
    except IndexError:
        sums = torch.empty(_PART_POSITIONS * _MAX_BLOCK, dtype=torch.uint32)
        tables = torch.empty(_MAX_K_BLOCK * ROW_STRIDE * _MAX_BLOCK // 2, dtype=torch.uint32)
        workspaces = sums, tables
    function(*operands, *workspaces, *place)
    _WORKSPACES.append(workspaces)
