"""What the low-rank kernel multiplies, as TVMScript: packed weights, mapped codes, and sums of g.

A word holds `group` integers of 32 / group bits, the first one lowest.
"""

# The bodies under @T.prim_func are TVMScript: TVM parses their source, Python never runs them.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: C901, PLR0913

from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule

PARTS = ("weights", "codes", "code_sums")
_CODES = 256


@dataclass(frozen=True)
class OperandClass:
    """What distinguishes one compiled kernel of this file from another.

    Attributes:
        isa: instruction set with features.
        part: one of `PARTS`.
        lanes: 32-bit lanes of a register.
        group: integers of a word, 4 or 2.
    """

    isa: str
    part: str
    lanes: int
    group: int

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        return f"low_rank_{self.part}_l{self.lanes}_g{self.group}"


def operand_kernel(kernel: OperandClass) -> Any:
    """TVM function of one kernel class.

    Raises:
        ImportError: TVM cannot be used.
    """
    makers = dict(zip(PARTS, (_weights, _codes, _code_sums), strict=True))
    return makers[kernel.part](kernel)


def _weights(kernel: OperandClass) -> Any:
    """Packs weights: index i32 [O, runs, run], rows of the table; v i8 [R, n_w]; f i32 [n_w]; weight i32 [registers,
    R, words, lanes], written where an output channel lies; start i32 [registers * lanes], receives the sums of f;
    output channels and registers of a group; first and last output channel. Every run starts a word.
    """
    T = tvm_submodule("script.tirx")
    lanes, group = kernel.lanes, kernel.group

    def word(v: Any, q: Any, index: Any, place: tuple[Any, Any], k: Any) -> Any:
        """v of the weights k, k + 1, ... of a run, zero beyond its end."""
        run, total = index.shape[2], T.uint32(0)
        for i in range(group):
            value = T.Select(k + i < run, v[q, index[(*place, T.min(k + i, run - 1))]], T.int8(0))
            bits = T.cast(value, "uint32") & T.uint32(2 ** (32 // group) - 1)
            total = total | (bits << T.uint32(32 // group * i))
        return T.reinterpret("int32", total)

    @T.prim_func
    def weights(
        index: T.handle,
        v: T.handle,
        f: T.handle,
        weight: T.handle,
        start: T.handle,
        outputs: T.int32,
        registers: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N, U, C, R, J, G, Q = T.int32(), T.int32(), T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        Index = T.match_buffer(index, (N, U, C), "int32", align=4)
        V = T.match_buffer(v, (R, J), "int8", align=1)
        F = T.match_buffer(f, (J,), "int32", align=4)
        Weight = T.match_buffer(weight, (G, R, Q, lanes), "int32", align=4)
        Start = T.match_buffer(start, (G * lanes,), "int32", align=4)
        for o in T.serial(first, last):
            g: T.let = o // outputs * registers + o % outputs // lanes
            lane: T.let = o % outputs % lanes
            Start[g * lanes + lane] = 0
            for u in T.serial(U):
                for c in T.serial(C):
                    Start[g * lanes + lane] = Start[g * lanes + lane] + F[Index[o, u, c]]
                for q in T.serial(R):
                    for w in T.serial((C + group - 1) // group):
                        Weight[g, q, u * ((C + group - 1) // group) + w, lane] = word(V, q, Index, (o, u), w * group)

    return weights


def _codes(kernel: OperandClass) -> Any:
    """Maps and pads codes: codes u8 [rows, width]; u u8 [R, 256]; mapped u8 (i16 for words of two) [R, codes]; rows
    of an image before and after padding; rows added above; codes added to the left; padded width; code at padding
    positions; first and last padded row.
    """
    T = tvm_submodule("script.tirx")
    code_type = "uint8" if kernel.group == 4 else "int16"
    vector = 64 if kernel.group == 4 and "avx512vbmi" in kernel.isa else 1

    def one(u: Any, q: Any, code: Any) -> Any:
        return T.cast(u[q, T.cast(code, "int32")], code_type)

    def half(u: Any, q: Any, code: Any, first: int) -> Any:
        """u of 64 codes if all lie in first .. first + 127; a byte look-up of 128 entries ignores the highest bit."""
        low, high = (T.reinterpret("int8x64", u[q, T.Ramp(first + start, 1, 64)]) for start in (0, 64))
        found = T.call_llvm_pure_intrin("int8x64", "llvm.x86.avx512.vpermi2var.qi.512", low, code, high)
        return T.reinterpret("uint8x64", found)

    def many(u: Any, q: Any, code: Any) -> Any:
        if vector == 1:
            return one(u, q, code)
        low, high = (half(u, q, T.reinterpret("int8x64", code), first) for first in (0, 128))
        return T.Select(code < T.Broadcast(T.uint8(128), 64), low, high)

    def span(start: Any) -> Any:
        return T.Ramp(start, 1, vector) if vector > 1 else start

    @T.prim_func
    def codes(
        codes: T.handle,
        u: T.handle,
        mapped: T.handle,
        height: T.int32,
        padded_height: T.int32,
        top: T.int32,
        left: T.int32,
        padded_width: T.int32,
        pad_code: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        H, W, R, N = T.int32(), T.int32(), T.int32(), T.int64()
        X = T.match_buffer(codes, (H, W), "uint8", align=1)
        U = T.match_buffer(u, (R, _CODES), "uint8", align=1)
        Map = T.match_buffer(mapped, (R, N), code_type, align=1)
        for row in T.serial(first, last):
            y: T.let = row % padded_height - top
            source: T.let = row // padded_height * height + y
            width: T.let = T.if_then_else(T.And(y >= 0, y < height), W, 0)  # a padding row holds no code
            at: T.let = T.cast(row, "int64") * T.cast(padded_width, "int64")
            for q in T.serial(R):
                for i in T.serial(left):
                    Map[q, at + i] = one(U, q, pad_code)
                for i in T.serial(width // vector):
                    Map[q, span(at + left + i * vector)] = many(U, q, X[source, span(i * vector)])
                for i in T.serial(width // vector * vector, width):
                    Map[q, at + left + i] = one(U, q, X[source, i])
                for i in T.serial(left + width, padded_width):
                    Map[q, at + i] = one(U, q, pad_code)

    return codes


def _code_sums(kernel: OperandClass) -> Any:
    """Adds g over channels: codes u8 [pixels, channels]; g i32 [256]; sums i32 [pixels]; first and last pixel."""
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def code_sums(codes: T.handle, g: T.handle, sums: T.handle, first: T.int32, last: T.int32):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        P, C = T.int32(), T.int32()
        X = T.match_buffer(codes, (P, C), "uint8", align=1)
        G = T.match_buffer(g, (_CODES,), "int32", align=4)
        Sum = T.match_buffer(sums, (P,), "int32", align=4)
        for p in T.serial(first, last):
            Sum[p] = 0
            for c in T.serial(C):
                Sum[p] = Sum[p] + G[T.cast(X[p, c], "int32")]

    return code_sums
