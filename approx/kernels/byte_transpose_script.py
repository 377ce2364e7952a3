"""The transpose of a matrix of bytes as TVMScript, in tiles of 64 rows and 16 columns.

Sixteen times a register takes 16 bytes of four rows, one row a quarter. Within the quarters, registers i and i + 8
are then interleaved, four times; after that a register holds 64 rows of one column.
"""

# The body under @T.prim_func is TVMScript: TVM parses its source, Python never runs it.
# mypy: disable-error-code="name-defined,no-untyped-def"

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule

TILE_ROWS, TILE_COLUMNS = 64, 16
"""Smallest matrix that is transposed fast."""


@dataclass(frozen=True)
class TransposeClass:
    """What distinguishes one compiled transpose from another.

    Attributes:
        isa: instruction set with features.
        source: type of the source's integers, "uint8", "int16" or "int32"; the lowest byte counts.
    """

    isa: str
    source: str

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        return f"byte_transpose_{self.source}"


def _column(T: Any, load: Callable[[int], Any], column: int, rounds: int = 4) -> Any:
    """64 rows of a column, of `load(row)` with 16 columns; LLVM computes once what several columns share."""
    if rounds == 0:
        rows = [load(column + 16 * quarter) for quarter in range(4)]
        return T.Shuffle(rows, list(range(64)))
    pair = [_column(T, load, column // 2 + i, rounds - 1) for i in (0, 8)]
    half = range(column % 2 * 8, column % 2 * 8 + 8)
    return T.Shuffle(pair, [16 * quarter + lane + i for quarter in range(4) for lane in half for i in (0, 64)])


def _transpose_tile(T: Any, source: Any, target: Any, row: Any, column: Any) -> None:
    """Transposes the tile that starts at a row and column of the source."""

    def load(r: int) -> Any:
        return T.cast(source[row + r, T.Ramp(column, T.int64(1), TILE_COLUMNS)], "uint8x16")

    for i in range(TILE_COLUMNS):
        place = (column + i) * source.shape[0] + row
        T.buffer_store(target, _column(T, load, i), [T.Ramp(place, T.int64(1), TILE_ROWS)])


def transpose_kernel(kernel: TransposeClass) -> Any:
    """Transposes a matrix: source [rows, columns]; target u8 with at least as many bytes, receives [columns, rows];
    first and last of the tiles of 64 rows, of which the last two may overlap.

    Raises:
        ImportError: TVM cannot be used.
    """
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def transpose(source: T.handle, target: T.handle, first: T.int64, last: T.int64):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        R, C, N = T.int64(), T.int64(), T.int64()
        X = T.match_buffer(source, (R, C), kernel.source, align=1)
        Y = T.match_buffer(target, (N,), "uint8", align=1)
        if T.And(R >= TILE_ROWS, C >= TILE_COLUMNS):
            for tile in T.serial(first, last):
                for block in T.serial((C + TILE_COLUMNS - 1) // TILE_COLUMNS):
                    row: T.let = T.min(tile * TILE_ROWS, R - TILE_ROWS)
                    column: T.let = T.min(block * TILE_COLUMNS, C - TILE_COLUMNS)
                    _transpose_tile(T, X, Y, row, column)
        else:
            for r in T.serial(first * TILE_ROWS, T.min(last * TILE_ROWS, R)):
                for c in T.serial(C):
                    Y[c * R + r] = T.cast(X[r, c], "uint8")

    return transpose
