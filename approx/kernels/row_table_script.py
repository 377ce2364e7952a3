"""The row-table kernel as TVMScript: one vector load replaces a whole row of look-ups.

For an output block of `output_block` channels and `k_block` consecutive k the kernel builds, per k, the row
table `T_k[a][o] = rows[weight_index[o, k]][a]` of unsigned 16-bit entries, then runs over the positions and
adds whole rows: `acc[p][:] += T_k[code[p, k]][:]`. Two neighbouring 16-bit entries share a 32-bit lane. The
kernel keeps two sums, `all` of the lanes as they are and `odd` of the lanes shifted right by 16; modulo 2^32

    odd channel = odd,        even channel = all - (odd << 16)

so every sum is exact as long as it fits 32 bits, whatever the number of products. With `pair` two rows are
added before the shift; that needs any two rows added together to stay below 2^16 (`row_data.py`).

Nothing in the inner loops is a local array, and a transposed tile is one nested expression: LLVM keeps both in
registers, which it does not do for TVM's local buffers. The sums of a position are stored after every row, in the
order of k; LLVM keeps them in registers too and stores them once.
"""

# The bodies under @T.prim_func are TVMScript: TVM parses their source, Python never runs them.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: C901, PLR0913

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule

CODES = 256
ROW_STRIDE = CODES + 1  # one spare row a table: a power-of-two stride would map all tables onto the same cache sets
TILE = 16  # codes of one transposed tile
_AHEAD = 4  # positions


@dataclass(frozen=True, order=True)
class KernelClass:
    """What distinguishes one compiled row-table kernel from another; shapes are arguments of the kernel.

    Attributes:
        isa: instruction set, as named by `tvm_adapter.host_isa`.
        output_block: output channels of one call, a multiple of 16.
        k_block: products added per pass over the positions, a multiple of 8.
        pair: whether two 16-bit rows are added before they are widened.
    """

    isa: str
    output_block: int
    k_block: int
    pair: bool

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        return f"row_table_o{self.output_block}_k{self.k_block}{'_pair' if self.pair else ''}"


def _interleave(lanes: int, width: int, high: int) -> list[int]:
    """Shuffle of two vectors: in each 8 lanes, groups of `width` lanes of their low (or high) half alternate."""
    order: list[int] = []
    for start in range(4 * high, lanes, 8):
        for group in range(start, start + 4, width):
            order += [*range(group, group + width), *range(lanes + group, lanes + group + width)]
    return order


def _transposed(T: Any, load: Callable[[int], Any], channels: int, j: int) -> Any:
    """Row `j` of the transpose of `channels` (16 or 32) vectors `load(i)` of 16 lanes, as one expression.

    A register holds channel q, and of 32 channels also channel q + 8. Three steps inside 128 bits, where shuffles are
    cheapest, turn 8 x 8 entries each; the last one picks the parts that belong to j. LLVM computes only once what
    several rows share.
    """

    def source(q: int) -> Any:
        first = q + (channels // 2 - 8) * (q // 8)
        parts = [load(i) for i in range(first, first + channels // 2, 8)]
        return parts[0] if len(parts) == 1 else T.Shuffle(parts, list(range(channels)))

    def step(width: int, q: int) -> Any:
        if width == 0:
            return source(q)
        block, rest = divmod(q, 2 * width)
        pair, high = divmod(rest, 2)
        first, second = (step(width // 2, (2 * block + half) * width + pair) for half in (0, 1))
        return T.Shuffle([first, second], _interleave(channels, width, high))

    upper, j = divmod(j, 8)
    lanes = [lane for start in range(8 * upper, 2 * channels, TILE) for lane in range(start, start + 8)]
    return T.Shuffle([step(4, j), step(4, 8 + j)], lanes)


class _Emitter:
    """Writes the pieces of the kernel; every method returns an expression or emits stores, at script time."""

    def __init__(self, script: Any, kernel: KernelClass) -> None:
        self.T = script
        self.block = kernel.output_block
        self.k_block = kernel.k_block
        self.group = 2 if kernel.pair else 1
        self.vector = min(self.block, 32 if kernel.isa == "x86-64-v4" else 16)  # output channels of a register
        self.lanes = self.vector // 2

    def store_tile(self, table16: Any, entry: Any, weight: Any, row: Any, k: Any, at: Any) -> None:
        """Stores a transposed tile: of table `slot`, a register of channels from `column`, 16 codes from `16 a`."""
        T, (slot, column, a) = self.T, at

        def load(i: int) -> Any:
            first = T.cast(weight[row + column + i, k], "int32") * CODES + a * TILE
            return entry[T.Ramp(first, 1, TILE)]

        for j in range(TILE):
            start = (slot * ROW_STRIDE + a * TILE + j) * self.block + column
            T.buffer_store(table16, _transposed(T, load, self.vector, j), [T.Ramp(start, 1, self.vector)])

    def accumulate(self, sums: Any, table: Any, p: Any, octet: Callable[[int], Any]) -> None:
        """Adds one pass to the `all` and `odd` sums of position p; `octet(q)` holds its q-th 8 codes.

        Four words are added as a tree: a chain of single additions would be waited for.
        """
        T, shift = self.T, self.T.Broadcast(self.T.uint32(16), self.lanes)

        def add(v: int, part: int, words: list[Any]) -> None:
            lanes = T.Ramp(p * self.block + v * self.vector + part * self.lanes, 1, self.lanes)
            T.buffer_store(sums, sums[lanes] + ((words[0] + words[1]) + (words[2] + words[3])), [lanes])

        for k in range(0, self.k_block, 4 * self.group):
            for v in range(self.block // self.vector):
                words = [self.row(table, octet, k + i * self.group, v) for i in range(4)]
                if self.group == 2:
                    words = [words[i] + self.row(table, octet, k + 2 * i + 1, v) for i in range(4)]
                add(v, 0, words)
                add(v, 1, [word >> shift for word in words])

    def prefetch(self, sums: Any, p: Any) -> None:
        """Asks for the sums of a position that is soon to come: they often lie beyond the second-level cache."""
        T = self.T
        for line in range(self.block // 16):
            place = T.address_of(sums[(p + _AHEAD) * self.block + 16 * line])
            T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", place, *(T.int32(flag) for flag in (1, 3, 1))))

    def row(self, table: Any, octet: Callable[[int], Any], k: int, v: int) -> Any:
        """Words of register v in the row of table k that the k-th code of the pass selects."""
        T = self.T
        code = T.cast((octet(k // 8) >> T.uint64(8 * (k % 8))) & T.uint64(255), "int32")
        return table[T.Ramp((k * ROW_STRIDE + code) * (self.block // 2) + v * self.lanes, 1, self.lanes)]

    def octets(self, codes: Any, base: Any, octet: Any, kb: Any, shift: Any) -> Callable[[int], Any]:
        """Function from q to the q-th octet of pass kb, of the position whose codes start at byte `base`.

        Addresses are 64 bits wide, so that adding them is part of the load.
        """
        T = self.T

        def load(q: int) -> Any:
            first = base + T.cast(octet[kb * (self.k_block // 8) + q] + shift, "int64")
            return T.reinterpret("uint64", codes[T.Ramp(first, T.int64(1), 8)])

        return load

    def both(self, sums: Any, place: tuple[Any, Any]) -> Any:
        """Sums of all channels of a register in their order; `place` is (position, register)."""
        T, lanes, (p, v) = self.T, self.lanes, place
        at = p * self.block + v * self.vector
        total, odd = sums[T.Ramp(at, 1, lanes)], sums[T.Ramp(at + lanes, 1, lanes)]
        even = total - (odd << T.Broadcast(T.uint32(16), lanes))
        zipped = [lane for i in range(lanes) for lane in (i, lanes + i)]
        return T.cast(T.Shuffle([even, odd], zipped), f"int32x{self.vector}")

    def single(self, sums: Any, place: tuple[Any, Any], i: Any) -> Any:
        """Sum of channel `i` of a register; `place` is (position, register)."""
        T, (p, v) = self.T, place
        at = p * self.block + v * self.vector + i // 2
        odd = sums[at + self.lanes]
        return T.cast(T.if_then_else(i % 2 == 1, odd, sums[at] - (odd << T.uint32(16))), "int32")


def row_table_kernel(kernel: KernelClass) -> Any:
    """TVM function of one kernel class.

    Its arguments (all tensors contiguous, sizes free): codes u8 [bytes]; position i32 [P] and octet i32 [K
    / 8], the 8 codes of position p and octet q starting at byte `position[p] + octet[q] + shift`; weight
    i16 [rows, K]; entry u16 [n_w * 256]; offset i32 [rows]; out i32 [P, O]; sums and tables u32 workspaces, 64-byte
    aligned; first and last position; first row of `weight`; first column of `out` and how many columns count (the rest
    of the block is padding); shift; how many of the 256 codes may occur, rounded up to 16; run and step: positions r *
    run to r * run + run lie `step` bytes apart.

    Runs save reading `position` for every position, which would hold up all loads of its codes and rows: a twentieth
    of the time.

    Raises:
        ImportError: TVM cannot be used.
    """
    T = tvm_submodule("script.tirx")
    emit = _Emitter(T, kernel)
    block, k_block, vector, lanes = emit.block, emit.k_block, emit.vector, emit.lanes

    @T.prim_func
    def row_table(
        codes: T.handle,
        position: T.handle,
        octet: T.handle,
        weight: T.handle,
        entry: T.handle,
        offset: T.handle,
        out: T.handle,
        sums: T.handle,
        tables: T.handle,
        first: T.int32,
        last: T.int32,
        row: T.int32,
        column: T.int32,
        columns: T.int32,
        shift: T.int32,
        used: T.int32,
        run: T.int32,
        step: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N, P, Q, R, K = T.int64(), T.int32(), T.int32(), T.int32(), T.int32()
        E, C, S, W = T.int32(), T.int32(), T.int32(), T.int32()
        X = T.match_buffer(codes, (N,), "uint8", align=1)
        At = T.match_buffer(position, (P,), "int32", align=4)
        Octet = T.match_buffer(octet, (Q,), "int32", align=4)
        Weight = T.match_buffer(weight, (R, K), "int16", align=2)
        Entry = T.match_buffer(entry, (E,), "uint16", align=2)
        Offset = T.match_buffer(offset, (R,), "int32", align=4)
        Out = T.match_buffer(out, (P, C), "int32", align=4)
        Sum = T.match_buffer(sums, (S,), "uint32", align=64)
        Table = T.match_buffer(tables, (W,), "uint32", align=64)
        Table16 = T.decl_buffer((W * 2,), "uint16", data=Table.data)
        for p in T.serial((last - first) * (block // lanes)):
            Sum[T.Ramp(p * lanes, 1, lanes)] = T.Broadcast(T.uint32(0), lanes)
        for kb in T.serial(K // k_block):
            for k in T.serial(k_block):
                for group in T.serial(block // vector):
                    for a in T.serial(used // TILE):
                        emit.store_tile(Table16, Entry, Weight, row, kb * k_block + k, (k, group * vector, a))
            for r in T.serial((last - 1) // run - first // run + 1):
                start: T.let = T.max(first, (first // run + r) * run)
                for p in T.serial(T.min(last - start, run - start % run)):
                    emit.prefetch(Sum, start - first + p)
                    base: T.let = T.cast(At[start], "int64") + T.cast(p, "int64") * T.cast(step, "int64")
                    emit.accumulate(Sum, Table, start - first + p, emit.octets(X, base, Octet, kb, shift))
        for p in T.serial(last - first):
            for v in T.unroll(block // vector):
                if v * vector + vector <= columns:
                    Out[first + p, T.Ramp(column + v * vector, 1, vector)] = (
                        emit.both(Sum, (p, v)) + Offset[T.Ramp(row + v * vector, 1, vector)]
                    )
                else:
                    for i in T.serial(vector):
                        if v * vector + i < columns:
                            Out[first + p, column + v * vector + i] = (
                                emit.single(Sum, (p, v), i) + Offset[row + v * vector + i]
                            )

    return row_table
