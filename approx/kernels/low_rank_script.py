"""The low-rank kernel as TVMScript: a convolution of small integers by dot-product instructions.

A block of positions times registers of output channels is summed at once. Codes and weights are 32-bit words of
`Dot.group` integers each (`low_rank_operands_script.py` makes them): a word of one position's codes is copied to
all lanes and meets a register of weights, one word an output channel.

The sums lie at constant places of a workspace once the loops are unrolled, and LLVM keeps them in registers. (A
local array would be allocated by the full TVM runtime, which a cached kernel does without.) Addresses are 64 bits
wide, so that adding them is part of the load.
"""

# The body under @T.prim_func is TVMScript: TVM parses its source, Python never runs it.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: C901, PLR0913

from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule


@dataclass(frozen=True)
class Dot:
    """An instruction that multiplies two registers of small integers and adds the products of every 32-bit lane.

    Attributes:
        intrinsic: its name in LLVM.
        lanes: 32-bit lanes of a register.
        group: products of a lane: 4 of 8 bits, or 2 of 16 bits.
        adds: whether the instruction also adds a third register.
        signed: whether 8-bit codes are signed; they are then stored minus 128.
        block: positions, and registers of output channels, that are summed at once.
    """

    intrinsic: str
    lanes: int
    group: int
    adds: bool
    signed: bool
    block: tuple[int, int]


# By feature; by level for machines without one: the 8-bit multiply-add of AVX2 saturates, the 16-bit one is exact.
DOTS = {
    "avx512vnni": Dot("llvm.x86.avx512.vpdpbusd.512", 16, 4, True, False, (8, 2)),
    "avxvnni": Dot("llvm.x86.avx512.vpdpbusd.256", 8, 4, True, False, (6, 2)),
    "dotprod": Dot("llvm.aarch64.neon.sdot.v4i32.v16i8", 4, 4, True, True, (4, 4)),
    "x86-64-v4": Dot("llvm.x86.avx512.pmaddw.d.512", 16, 2, False, False, (8, 2)),
    "x86-64-v3": Dot("llvm.x86.avx2.pmadd.wd", 8, 2, False, False, (6, 2)),
    "x86-64-v2": Dot("llvm.x86.sse2.pmadd.wd", 4, 2, False, False, (6, 2)),
}


def dot_of(isa: str) -> Dot | None:
    """The dot product of an instruction set, named with its features ("x86-64-v3+avxvnni"); None if it has none."""
    level, *features = isa.split("+")
    return next((DOTS[name] for name in (*features, level) if name in DOTS), None)


@dataclass(frozen=True)
class ProductsClass:
    """What distinguishes one compiled low-rank kernel from another.

    Attributes:
        isa: instruction set with features; it has a dot product.
        registers: registers of output channels of one call.
    """

    isa: str
    registers: int

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        return f"low_rank_r{self.registers}"


class _Emitter:
    """Expressions of the kernel."""

    def __init__(self, script: Any, dot: Dot, registers: int) -> None:
        self.T, self.dot, self.registers = script, dot, registers

    def lanes(self, m: Any, r: Any) -> Any:
        """Place of the sums of position m and register r in the workspace."""
        return self.T.Ramp((m * self.registers + r) * self.dot.lanes, 1, self.dot.lanes)

    def word(self, mapped: Any, q: Any, position: Any, word: Any) -> Any:
        """One word of codes of plane q."""
        T = self.T
        first = T.cast(position, "int64") + T.cast(word, "int64")
        return T.reinterpret("int32", mapped[q, T.Ramp(first, T.int64(1), self.dot.group)])

    def multiply(self, total: Any, code: Any, weight: Any) -> Any:
        """`total` plus the products of a word of codes with a register of weights."""
        T, dot = self.T, self.dot
        small = f"int{32 // dot.group}x{dot.lanes * dot.group}"
        operands = [T.reinterpret(small, operand) for operand in (T.Broadcast(code, dot.lanes), weight)]
        if dot.adds:
            return T.call_llvm_pure_intrin(f"int32x{dot.lanes}", dot.intrinsic, total, *operands)
        return total + T.call_llvm_pure_intrin(f"int32x{dot.lanes}", dot.intrinsic, *operands)


def products_kernel(kernel: ProductsClass) -> Any:
    """TVM function of one kernel class.

    Its arguments (all tensors contiguous, sizes free): mapped u8 (i16 where the dot product takes 16 bits) [R,
    codes]; position i32 [P] and word i32 [words], the codes of position p and word k starting at
    `mapped[q, position[p] + word[k] + shift]`; weight i32 [registers, R, words, lanes]; scale i32 [R]; row_start
    i32 [registers * lanes] and position_start i32 [P, groups], what the sums start with; out i32 [P, O]; two i32
    workspaces of a block; first and last position; first register; group; first column of `out` and how many
    columns count (the rest of the block is padding); shift.

    The last block repeats the last position as often as it takes to fill it.

    Raises:
        ImportError: TVM cannot be used.
    """
    T = tvm_submodule("script.tirx")
    dot = dot_of(kernel.isa)
    assert dot is not None, f"{kernel.isa} has no dot product"
    emit = _Emitter(T, dot, kernel.registers)
    lanes, registers, positions = dot.lanes, kernel.registers, dot.block[0]
    code_type = "uint8" if dot.group == 4 else "int16"

    @T.prim_func
    def low_rank(
        mapped: T.handle,
        position: T.handle,
        word: T.handle,
        weight: T.handle,
        scale: T.handle,
        row_start: T.handle,
        position_start: T.handle,
        out: T.handle,
        sums: T.handle,
        totals: T.handle,
        first: T.int32,
        last: T.int32,
        register: T.int32,
        group: T.int32,
        column: T.int32,
        columns: T.int32,
        shift: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        R, N, P, Q = T.int32(), T.int64(), T.int32(), T.int32()
        V, C, G = T.int32(), T.int32(), T.int32()
        Map = T.match_buffer(mapped, (R, N), code_type, align=1)
        At = T.match_buffer(position, (P,), "int32", align=4)
        Word = T.match_buffer(word, (Q,), "int32", align=4)
        Weight = T.match_buffer(weight, (V, R, Q, lanes), "int32", align=4)
        Scale = T.match_buffer(scale, (R,), "int32", align=4)
        RowStart = T.match_buffer(row_start, (V * lanes,), "int32", align=4)
        PositionStart = T.match_buffer(position_start, (P, G), "int32", align=4)
        Out = T.match_buffer(out, (P, C), "int32", align=4)
        Sum = T.match_buffer(sums, (positions * registers * lanes,), "int32", align=4)
        Total = T.match_buffer(totals, (positions * registers * lanes,), "int32", align=4)
        for block in T.serial((last - first + positions - 1) // positions):
            p: T.let = first + block * positions
            for m in T.unroll(positions):
                for r in T.unroll(registers):
                    Total[emit.lanes(m, r)] = RowStart[T.Ramp((register + r) * lanes, 1, lanes)] + T.Broadcast(
                        PositionStart[T.min(p + m, last - 1), group], lanes
                    )
            for q in T.serial(R):
                for i in T.unroll(positions * registers):
                    Sum[T.Ramp(i * lanes, 1, lanes)] = T.Broadcast(0, lanes)
                for k in T.serial(Q):
                    for m in T.unroll(positions):
                        for r in T.unroll(registers):
                            Sum[emit.lanes(m, r)] = emit.multiply(
                                Sum[emit.lanes(m, r)],
                                emit.word(Map, q, At[T.min(p + m, last - 1)] + shift, Word[k]),
                                Weight[register + r, q, k, T.Ramp(0, 1, lanes)],
                            )
                for i in T.unroll(positions * registers):
                    Total[T.Ramp(i * lanes, 1, lanes)] = (
                        Total[T.Ramp(i * lanes, 1, lanes)]
                        + T.Broadcast(Scale[q], lanes) * Sum[T.Ramp(i * lanes, 1, lanes)]
                    )
            for m in T.unroll(positions):
                if columns == registers * lanes:
                    for r in T.unroll(registers):
                        Out[T.min(p + m, last - 1), T.Ramp(column + r * lanes, 1, lanes)] = Total[emit.lanes(m, r)]
                else:
                    for i in T.serial(columns):
                        Out[T.min(p + m, last - 1), column + i] = Total[m * registers * lanes + i]

    return low_rank
