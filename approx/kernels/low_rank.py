"""Low-rank convolution: with a table that factorises exactly, an ordinary convolution of small integers.

    table[w, x] = f[w] + g[x] + Σ_q scale[q] v[q, w] u[q, x]

so a sum over the receptive field is

    out[p, o] = F[o] + G[p] + Σ_q scale[q] Σ_k u[q, x[p, k]] v[q, w[o, k]]

with F and G the sums of f and g: one dot product of 8-bit integers a plane q. Padding positions hold `pad_code` in
every term: codes are padded with u[q, pad_code], which is rarely 0. Everything is added modulo 2^32, so that what
overflows on the way does no harm: the caller has checked that the sums of products themselves fit int32.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from .. import tvm_adapter
from . import depthwise, layout, low_rank_script
from .analysis import analyse
from .compiled import compiled
from .factorisation import Factorisation
from .geometry import ConvGeometry
from .low_rank_operands import Operands, parts
from .low_rank_script import ProductsClass, dot_of, products_kernel
from .parallel import Task, run_parallel

_SCRIPT = Path(low_rank_script.__file__)
_PART_CODES = 1 << 18  # codes of one kernel call: they stay in the second-level cache from block to block


def conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, factors: Factorisation, shape: ConvGeometry, pad_code: int
) -> torch.Tensor:
    """Convolution of checked arguments (see `dispatch.table_conv2d`).

    Args:
        codes: uint8 [N, H, W, C].
        weight_index: int16 or int32 [O, kh, kw, C/groups].
        factors: the table's exact factorisation, at least one plane.
        shape: the convolution's sizes; fan-in at least 1.
        pad_code: code at padding positions.

    Returns:
        Sums, int32 [N, Ho, Wo, O].

    Raises:
        ValueError: a single image is too large for 32-bit addresses, or this machine has no dot product.
        ImportError: TVM cannot be used.
    """
    operands = _operands(shape)
    if depthwise.serves(shape):
        return depthwise.conv2d(codes, weight_index, factors, operands, pad_code)
    f, u = operands.stored(factors)
    weight, row_start = operands.weights(weight_index, factors.v, f)
    word = torch.tensor(layout.tap_offsets(shape, layout.run_length(shape), operands.dot.group), dtype=torch.int32)
    out = torch.empty(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    for first, images in layout.image_chunks(shape, factors.planes * (4 // operands.dot.group)):
        chunk = codes[first : first + images]
        mapped, position = operands.codes(chunk, u, pad_code), layout.positions(shape, images)
        start = row_start, operands.position_start(chunk, factors.g, pad_code)
        part = out[first : first + images].view(-1, shape.outputs)
        run_parallel(_tasks(operands, (mapped, position, word, weight, factors.scale, *start, part)))
    return out


def prepare(table: torch.Tensor) -> Factorisation | None:
    """The exact factorisation of an int32 [n_w, 256] table, at least one plane.

    None where none was found, or where this machine has no dot product to use it.
    """
    if not dot_bits():
        return None
    factors = analyse(table).factorisation
    if factors is None or factors.planes:
        return factors
    v, u = torch.zeros(1, len(table), dtype=torch.int8), torch.zeros(1, 256, dtype=torch.uint8)
    return replace(factors, scale=torch.ones(1, dtype=torch.int32), v=v, u=u)


def padded_products(shape: ConvGeometry) -> int:
    """Products of a plane the kernel really adds for one position, with those of padded words and registers."""
    operands = _operands(shape)
    return operands.words * operands.dot.group * shape.groups * operands.registers * operands.dot.lanes


def dot_bits() -> int:
    """Bits of the integers this machine's dot product takes, 8 or 16; 0 if it has none.

    Any x86 has one (of 16 bits: `pmaddwd`), aarch64 with the feature "dotprod".
    """
    dot = dot_of(_isa())
    return 0 if dot is None else 32 // dot.group


def lanes() -> int:
    """Sums of 32 bits that a register of this machine's dot product holds; 0 if it has none."""
    dot = dot_of(_isa())
    return 0 if dot is None else dot.lanes


def _isa() -> str:
    return "+".join((tvm_adapter.host_isa(), *tvm_adapter.host_features()))


def _operands(shape: ConvGeometry) -> Operands:
    isa = _isa()
    dot = dot_of(isa)
    if dot is None:
        raise ValueError(f"expected an instruction set with an exact dot product, got {isa!r}; use the row table")
    return Operands(shape, isa, dot)


def _tasks(operands: Operands, tensors: tuple[torch.Tensor, ...]) -> Iterator[Task]:
    """Kernel calls of all output blocks on all positions, each with a workspace of its own."""
    shape, dot = operands.shape, operands.dot
    largest = max(1, _PART_CODES // (shape.channels * shape.stride[0] * shape.stride[1]))
    blocks = list(_blocks(operands))
    for part in parts(len(tensors[1]), largest):
        for registers, place in blocks:
            kernel = ProductsClass(operands.isa, registers)
            function = compiled(kernel, kernel.name, kernel.isa, products_kernel, _SCRIPT)
            workspaces = torch.empty(2, dot.block[0] * registers * dot.lanes, dtype=torch.int32)
            yield partial(function, *tensors, *workspaces, *part, *place)


def _blocks(operands: Operands) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(registers, (first register, group, first column, columns, shift)) of every output block."""
    shape, lanes = operands.shape, operands.dot.lanes
    for group in range(shape.groups):
        done = 0
        while done < operands.registers:
            registers = min(operands.dot.block[1], 2 ** ((operands.registers - done).bit_length() - 1))
            columns = min(registers * lanes, shape.group_outputs - done * lanes)
            column = group * shape.group_outputs + done * lanes
            yield registers, (group * operands.registers + done, group, column, columns, group * shape.group_channels)
            done += registers
