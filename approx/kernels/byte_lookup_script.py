"""The byte look-up kernel as TVMScript: 64 look-ups in one row of products by a few instructions.

AVX-512 VBMI looks 64 bytes up in a table of 128 bytes held in two registers. A row of 256 products is cut into
planes, the bytes of its entries; a plane is two such tables, and the highest bit of the index says which one counts.

    sum[r, l] = Σ_k row(select[r, k])[index[place(r) + tap[k] + l]]

Rows r and lanes l are the output channels and positions of a convolution, one way or the other (`byte_layout.py`).
The found bytes are added as 16-bit words, two lanes a word: `all` adds the words as they are, `odd` adds their upper
bytes; modulo 2^16 the sum of the lower bytes is `all - (odd << 8)`. Both stay exact for 257 products and are then
widened. Like those of the low-rank kernel, the words lie at constant places of a workspace and LLVM keeps them in
registers.

Loops start at 0, because TVM 0.27 shifts a loop twice that starts elsewhere and holds a loop that depends on it; and
divisions truncate, because those that round down take LLVM seconds to compile.
"""

# The body under @T.prim_func is TVMScript: TVM parses its source, Python never runs it.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: C901, PLR0913

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule

ROWS = 16
"""Rows of a block: one register of 32-bit sums."""
LANES = 64
"""Look-ups of one register."""
_WORDS = LANES // 2
_DEEPEST = 256  # products that are added before sums are widened


@dataclass(frozen=True)
class LookupClass:
    """What distinguishes one compiled look-up kernel from another.

    Attributes:
        isa: instruction set with features, avx512vbmi among them.
        planes: bytes of an entry, 1 to 4.
        registers: registers of indices of one block, `LANES` lanes each.
        select: type of the table rows that products are found in, "uint8", "int16" or "int32".
        lanes_are_positions: whether a lane is a position (and a row an output channel) or the reverse.
    """

    isa: str
    planes: int
    registers: int
    select: str
    lanes_are_positions: bool

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        lane = "position" if self.lanes_are_positions else "output"
        return f"byte_lookup_{lane}_{self.select}_b{self.planes}_r{self.registers}"


class _Emitter:
    """Expressions of the kernel."""

    def __init__(self, script: Any, kernel: LookupClass) -> None:
        self.T, self.planes, self.registers = script, kernel.planes, kernel.registers

    def words(self, i: Any, plane: Any, odd: int) -> Any:
        """Place of the `all` or `odd` words of register i and a plane in the workspace."""
        return self.T.Ramp(((i * self.planes + plane) * 2 + odd) * _WORDS, 1, _WORDS)

    def found(self, tables: Any, row: Any, plane: Any, index: Any) -> Any:
        """A plane's bytes of 64 products of a row, as words."""
        T = self.T

        def half(first: int) -> Any:
            entries = (tables[row, plane, T.Ramp(start, 1, LANES)] for start in (first, first + LANES))
            low, high = (T.reinterpret("int8x64", entry) for entry in entries)
            look_up = "llvm.x86.avx512.vpermi2var.qi.512"
            return T.call_llvm_pure_intrin("int8x64", look_up, low, T.reinterpret("int8x64", index), high)

        upper = index >= T.Broadcast(T.uint8(128), LANES)
        return T.reinterpret(f"uint16x{_WORDS}", T.Select(upper, half(128), half(0)))

    def upper(self, words: Any) -> Any:
        """Upper bytes of words."""
        return words >> self.T.Broadcast(self.T.uint16(8), _WORDS)

    def widen(self, words: Any, sums: Any, r: Any, base: Any, before: Any = None) -> None:
        """Stores the sums of all registers plus `base`, added to those of row r so far where there are any."""
        for i in range(self.registers):
            for part in range(4):
                lanes = self.T.Ramp(i * LANES + part * ROWS, 1, ROWS)
                total = self.total(words, i, part) + self.T.Broadcast(base, ROWS)
                self.T.buffer_store(sums, total if before is None else before[r, lanes] + total, [r, lanes])

    def total(self, words: Any, i: int, part: int) -> Any:
        """Sums of every fourth lane of register i: the lower (part 0) or upper (part 1) byte of the lower of two words,
        or those of the upper word (parts 2 and 3)."""
        T, terms = self.T, []

        def shifted(value: Any, bits: int) -> Any:
            shift = T.Broadcast(T.uint32(abs(bits)), ROWS)
            return value << shift if bits >= 0 else value >> shift

        for plane in range(self.planes):
            sums = words[self.words(i, plane, 1)]
            if part % 2 == 0:
                sums = words[self.words(i, plane, 0)] - (sums << T.Broadcast(T.uint16(8), _WORDS))
            double = T.reinterpret(f"uint32x{ROWS}", sums)
            single = shifted(double, -16) if part >= 2 else double & T.Broadcast(T.uint32(0xFFFF), ROWS)
            terms.append(shifted(single, 8 * plane))
        return sum(terms[1:], terms[0])

    def transpose(self, sums: Any, group: Any, tile: Any) -> None:
        """Transposes 16 rows of the sums of every fourth lane: a group is a part of a register."""
        for i in range(ROWS):
            lane = group // 4 * LANES + i * 4 + group % 4
            column = self.column(lambda r: sums[r, self.T.Ramp(group * ROWS, 1, ROWS)], i)
            self.T.buffer_store(tile, column, [lane, self.T.Ramp(0, 1, ROWS)])

    def column(self, load: Callable[[int], Any], column: int) -> Any:
        """A column of 16 rows: of four rows in a quarter of a register each, then all of them in the same quarter.

        LLVM computes once what several columns share.
        """
        quarter, lane = divmod(column, 4)

        def four(first: int) -> Any:
            pairs = [self.interleaved(load(i), load(i + 1), 1, lane // 2) for i in (first, first + 2)]
            return self.interleaved(pairs[0], pairs[1], 2, lane % 2)

        halves = [self.quarters(four(i), four(i + 4), quarter % 2) for i in (0, 8)]
        return self.quarters(halves[0], halves[1], quarter // 2)

    def interleaved(self, a: Any, b: Any, width: int, high: int) -> Any:
        """The lower or higher half of every quarter of a and b, so many lanes in turn."""
        turns = [(j + i, o) for j in range(0, 2, width) for o in (0, 16) for i in range(width)]
        return self.T.Shuffle([a, b], [4 * quarter + 2 * high + lane + o for quarter in range(4) for lane, o in turns])

    def quarters(self, a: Any, b: Any, odd: int) -> Any:
        """The even or odd quarters of a, then those of b."""
        return self.T.Shuffle([a, b], [8 * j + 4 * odd + i for j in range(4) for i in range(4)])


def lane_order(lane: Any) -> Any:
    """Place of a lane among the sums of its row."""
    return lane // LANES * LANES + lane % 4 * ROWS + lane % LANES // 4


def lookup_kernel(kernel: LookupClass) -> Any:
    """TVM function of one look-up class.

    Its arguments (all tensors contiguous, sizes free): tables u8 [table rows, planes, 256] and offset i32 [table
    rows], what each row adds to its entries; select [rows, K], the table row of every product; index u8 [bytes] and
    tap i64 [K], the indices of row r and product k lying at `index[r // group_rows * group_bytes + tap[k]]` and
    beyond, one a lane, with a block readable beyond the last; out i32 [positions, outputs]; workspaces base u32 [1],
    words u16 and sums, tile u32 of a block; group_bytes i64 and group_rows; the number of lanes; where positions lie
    among them: lanes of a line, of which the first `width` count, lines of an image, of which the first `height`
    count; first and last block, rows first.

    Raises:
        ImportError: TVM cannot be used.
    """
    T = tvm_submodule("script.tirx")
    emit = _Emitter(T, kernel)
    registers, planes, block_lanes = kernel.registers, kernel.planes, kernel.registers * LANES

    @T.prim_func
    def lookup(
        tables: T.handle,
        offset: T.handle,
        select: T.handle,
        index: T.handle,
        tap: T.handle,
        out: T.handle,
        base: T.handle,
        words: T.handle,
        sums: T.handle,
        tile: T.handle,
        group_bytes: T.int64,
        group_rows: T.int32,
        lanes: T.int32,
        pitch: T.int32,
        width: T.int32,
        lines: T.int32,
        height: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N, R, K, B, P, C = T.int32(), T.int32(), T.int32(), T.int64(), T.int32(), T.int32()
        Table = T.match_buffer(tables, (N, planes, 256), "uint8", align=1)
        Offset = T.match_buffer(offset, (N,), "int32", align=4)
        Select = T.match_buffer(select, (R, K), kernel.select, align=1)
        Index = T.match_buffer(index, (B,), "uint8", align=1)
        Tap = T.match_buffer(tap, (K,), "int64", align=8)
        Out = T.match_buffer(out, (P, C), "int32", align=4)
        Base = T.match_buffer(base, (1,), "uint32", align=4)
        Word = T.match_buffer(words, (registers * planes * LANES,), "uint16", align=2)
        Sum = T.match_buffer(sums, (ROWS, block_lanes), "uint32", align=4)
        Tile = T.match_buffer(tile, (block_lanes, ROWS), "uint32", align=4)
        row_blocks: T.let = T.truncdiv(R + ROWS - 1, ROWS)
        for block in T.serial(first, last):
            row: T.let = T.truncmod(block, row_blocks) * ROWS
            lane: T.let = T.truncdiv(block, row_blocks) * block_lanes
            end: T.let = T.min(lane + block_lanes, lanes)
            rows: T.let = T.min(ROWS, R - row)
            for r in T.serial(rows):
                place: T.let = T.cast(T.truncdiv(row + r, group_rows), "int64") * group_bytes + lane
                for part in T.serial((K + _DEEPEST - 1) // _DEEPEST):
                    Base[0] = T.uint32(0)
                    for i in T.unroll(registers * planes * 2):
                        Word[T.Ramp(i * _WORDS, 1, _WORDS)] = T.Broadcast(T.uint16(0), _WORDS)
                    for k in T.serial(part * _DEEPEST, T.min((part + 1) * _DEEPEST, K)):
                        entry: T.let = T.cast(Select[row + r, k], "int32")
                        Base[0] = Base[0] + T.reinterpret("uint32", Offset[entry])
                        for i in T.unroll(registers):
                            codes: T.let = Index[T.Ramp(place + Tap[k] + i * LANES, T.int64(1), LANES)]
                            for q in T.unroll(planes):
                                found: T.let = emit.found(Table, entry, q, codes)
                                Word[emit.words(i, q, 0)] = Word[emit.words(i, q, 0)] + found
                                Word[emit.words(i, q, 1)] = Word[emit.words(i, q, 1)] + emit.upper(found)
                    if part == 0:
                        emit.widen(Word, Sum, r, Base[0])
                    else:
                        emit.widen(Word, Sum, r, Base[0], Sum)
            if kernel.lanes_are_positions:
                for group in T.serial((end - lane + LANES - 1) // LANES * 4):
                    emit.transpose(Sum, group, Tile)
                first_line: T.let = T.truncdiv(lane, pitch)
                for i in T.serial(T.truncdiv(end + pitch - 1, pitch) - first_line):
                    line: T.let = first_line + i
                    before: T.let = line * pitch - lane  # lanes of the block before the line
                    skipped: T.let = T.max(-before, 0)
                    if T.truncmod(line, lines) < height:
                        for x in T.serial(T.min(width, end - line * pitch) - skipped):
                            image: T.let = T.truncdiv(line, lines)
                            p: T.let = (line - image * (lines - height)) * width + skipped + x
                            if rows == ROWS:
                                Out[p, T.Ramp(row, 1, ROWS)] = T.reinterpret(
                                    "int32x16", Tile[before + skipped + x, T.Ramp(0, 1, ROWS)]
                                )
                            else:
                                for r in T.serial(rows):
                                    Out[p, row + r] = T.reinterpret("int32", Tile[before + skipped + x, r])
            else:
                for r in T.serial(rows):
                    for x in T.serial(end - lane):
                        Out[row + r, lane + x] = T.reinterpret("int32", Sum[r, lane_order(x)])

    return lookup
