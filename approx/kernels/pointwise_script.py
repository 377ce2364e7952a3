"""What happens to every activation between two layers, as TVMScript: one pass over memory each.

The readable form of these steps is `approx.quantizer`, `approx.requantise` and `approx.addition.QuantAdd`; the
results are the same to the last bit. Every loop is over independent elements: LLVM makes vectors of it.
"""

# The bodies under @T.prim_func are TVMScript: TVM parses their source, Python never runs them.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: PLR0913

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule


@dataclass(frozen=True)
class PointwiseClass:
    """What distinguishes one compiled kernel of this file from another.

    Attributes:
        isa: instruction set with features.
        step: one of `STEPS`.
    """

    isa: str
    step: str

    @property
    def inside(self) -> bool:
        """Whether the step also says where the code before clamping lies within the bounds."""
        return self.step.endswith("_inside")

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        return f"pointwise_{self.step}"


def pointwise_kernel(kernel: PointwiseClass) -> Any:
    """TVM function of one kernel class.

    Raises:
        ImportError: TVM cannot be used.
    """
    return STEPS[kernel.step](kernel)


def _nearest_code(T: Any, value: Any, scale: Any, zero: Any, low: Any, high: Any) -> Any:
    """Code of a real, float32; halves go to the even code, as in torch."""
    return T.min(T.max(T.nearbyint(value / scale) + zero, low), high)


def _codes(kernel: PointwiseClass) -> Any:
    """Codes of reals: values f32 [n]; codes u8 [n]; scale; zero, low, high as floats; first and last element."""
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def codes(
        values: T.handle,
        codes: T.handle,
        scale: T.float32,
        zero: T.float32,
        low: T.float32,
        high: T.float32,
        first: T.int64,
        last: T.int64,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N = T.int64()
        Value = T.match_buffer(values, (N,), "float32", align=4)
        Code = T.match_buffer(codes, (N,), "uint8", align=1)
        for i in T.serial(first, last):
            Code[i] = T.cast(T.cast(_nearest_code(T, Value[i], scale, zero, low, high), "int32"), "uint8")

    return codes


def _reals(kernel: PointwiseClass) -> Any:
    """Reals of codes: codes u8 [n]; out f32 [n]; scale; zero; first and last element."""
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def reals(codes: T.handle, out: T.handle, scale: T.float32, zero: T.int32, first: T.int64, last: T.int64):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N = T.int64()
        Code = T.match_buffer(codes, (N,), "uint8", align=1)
        Out = T.match_buffer(out, (N,), "float32", align=4)
        for i in T.serial(first, last):
            Out[i] = T.cast(T.cast(Code[i], "int32") - zero, "float32") * scale

    return reals


def _masked(kernel: PointwiseClass) -> Any:
    """A gradient where it passes: gradient f32 [n]; inside u8 [n]; out f32 [n]; first and last element."""
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def masked(gradient: T.handle, inside: T.handle, out: T.handle, first: T.int64, last: T.int64):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N = T.int64()
        Gradient = T.match_buffer(gradient, (N,), "float32", align=4)
        Inside = T.match_buffer(inside, (N,), "uint8", align=1)
        Out = T.match_buffer(out, (N,), "float32", align=4)
        for i in T.serial(first, last):
            Out[i] = T.Select(Inside[i] != T.uint8(0), Gradient[i], T.float32(0))

    return masked


def _lookup(kernel: PointwiseClass) -> Any:
    """Table entries of reals: values f32 [n]; table f32 [256], by code; out f32 [n]; scale; zero, low, high as floats;
    first and last element.
    """
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def lookup(
        values: T.handle,
        table: T.handle,
        out: T.handle,
        scale: T.float32,
        zero: T.float32,
        low: T.float32,
        high: T.float32,
        first: T.int64,
        last: T.int64,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N = T.int64()
        Value = T.match_buffer(values, (N,), "float32", align=4)
        Table = T.match_buffer(table, (256,), "float32", align=4)
        Out = T.match_buffer(out, (N,), "float32", align=4)
        for i in T.serial(first, last):
            Out[i] = Table[T.cast(_nearest_code(T, Value[i], scale, zero, low, high), "int32")]

    return lookup


def _code(T: Any, total: Any, factor: tuple[Any, Any, Any], zero: Any) -> Any:
    """Code nearest to total * multiplier / 2^shift, before it is clamped."""
    multiplier, half, shift = factor
    return ((total * multiplier + half) >> shift) + zero


def _real(T: Any, code: Any, grid: tuple[Any, Any, Any, Any]) -> Any:
    """Real of a code clamped to the grid (scale, zero, low, high), float32."""
    scale, zero, low, high = grid
    return T.cast(T.min(T.max(code, low), high) - zero, "float32") * scale


def _within(T: Any, code: Any, low: Any, high: Any) -> Any:
    """Whether clamping leaves a code as it is, uint8."""
    return T.cast(T.And(code >= low, code <= high), "uint8")


def _requantise(kernel: PointwiseClass) -> Any:
    """Sums to reals in place: sums i32 [P, C], receives the bits of f32; inside u8 [P, C], 1 where the code was not
    clamped (else unused); addend, multiplier, half, shift i64 [C]; the output's scale; its zero, low, high; first and
    last row.
    """
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def requantise(
        sums: T.handle,
        inside: T.handle,
        addend: T.handle,
        multiplier: T.handle,
        half: T.handle,
        shift: T.handle,
        scale: T.float32,
        zero: T.int64,
        low: T.int64,
        high: T.int64,
        first: T.int64,
        last: T.int64,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        P, C = T.int64(), T.int64()
        Sum = T.match_buffer(sums, (P, C), "int32", align=4)
        if kernel.inside:
            Inside = T.match_buffer(inside, (P, C), "uint8", align=1)
        Addend = T.match_buffer(addend, (C,), "int64", align=8)
        Multiplier = T.match_buffer(multiplier, (C,), "int64", align=8)
        Half = T.match_buffer(half, (C,), "int64", align=8)
        Shift = T.match_buffer(shift, (C,), "int64", align=8)
        for p in T.serial(first, last):
            for c in T.serial(C):
                total: T.let = T.cast(Sum[p, c], "int64") + Addend[c]
                code: T.let = _code(T, total, (Multiplier[c], Half[c], Shift[c]), zero)
                if kernel.inside:
                    Inside[p, c] = _within(T, code, low, high)
                Sum[p, c] = T.reinterpret("int32", _real(T, code, (scale, zero, low, high)))

    return requantise


def _requantise_affine(kernel: PointwiseClass) -> Any:
    """As `_requantise`; after inside come box i32 [P, G], sums of the codes of each group, and weight_zero i64 [C]."""
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def requantise(
        sums: T.handle,
        inside: T.handle,
        box: T.handle,
        weight_zero: T.handle,
        addend: T.handle,
        multiplier: T.handle,
        half: T.handle,
        shift: T.handle,
        scale: T.float32,
        zero: T.int64,
        low: T.int64,
        high: T.int64,
        first: T.int64,
        last: T.int64,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        P, G, C = T.int64(), T.int64(), T.int64()
        Sum = T.match_buffer(sums, (P, G, C), "int32", align=4)
        if kernel.inside:
            Inside = T.match_buffer(inside, (P, G, C), "uint8", align=1)
        Box = T.match_buffer(box, (P, G), "int32", align=4)
        Zero = T.match_buffer(weight_zero, (G, C), "int64", align=8)
        Addend = T.match_buffer(addend, (G, C), "int64", align=8)
        Multiplier = T.match_buffer(multiplier, (G, C), "int64", align=8)
        Half = T.match_buffer(half, (G, C), "int64", align=8)
        Shift = T.match_buffer(shift, (G, C), "int64", align=8)
        for p in T.serial(first, last):
            for g in T.serial(G):
                for c in T.serial(C):
                    total: T.let = (
                        T.cast(Sum[p, g, c], "int64") + Addend[g, c] - Zero[g, c] * T.cast(Box[p, g], "int64")
                    )
                    code: T.let = _code(T, total, (Multiplier[g, c], Half[g, c], Shift[g, c]), zero)
                    if kernel.inside:
                        Inside[p, g, c] = _within(T, code, low, high)
                    Sum[p, g, c] = T.reinterpret("int32", _real(T, code, (scale, zero, low, high)))

    return requantise


def _add(kernel: PointwiseClass) -> Any:
    """Sum of two activations: left, right, out f32 [n]; inside u8 [n] as of `_requantise`; scale, zero, low, high and
    multiplier of left, then of right; shift; scale, zero, low, high of out; first and last element.
    """
    T = tvm_submodule("script.tirx")

    def term(value: Any, scale: Any, zero: Any, low: Any, high: Any, multiplier: Any) -> Any:
        return T.cast(_nearest_code(T, value, scale, zero, low, high) - zero, "int32") * multiplier

    @T.prim_func
    def add(
        left: T.handle,
        right: T.handle,
        out: T.handle,
        inside: T.handle,
        left_scale: T.float32,
        left_zero: T.float32,
        left_low: T.float32,
        left_high: T.float32,
        left_multiplier: T.int32,
        right_scale: T.float32,
        right_zero: T.float32,
        right_low: T.float32,
        right_high: T.float32,
        right_multiplier: T.int32,
        shift: T.int32,
        scale: T.float32,
        zero: T.int32,
        low: T.int32,
        high: T.int32,
        first: T.int64,
        last: T.int64,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N = T.int64()
        Left = T.match_buffer(left, (N,), "float32", align=4)
        Right = T.match_buffer(right, (N,), "float32", align=4)
        Out = T.match_buffer(out, (N,), "float32", align=4)
        if kernel.inside:
            Inside = T.match_buffer(inside, (N,), "uint8", align=1)
        for i in T.serial(first, last):
            total: T.let = (
                (T.int32(1) << (shift - 1))
                + term(Left[i], left_scale, left_zero, left_low, left_high, left_multiplier)
                + term(Right[i], right_scale, right_zero, right_low, right_high, right_multiplier)
            )
            code: T.let = (total >> shift) + zero
            if kernel.inside:
                Inside[i] = _within(T, code, low, high)
            Out[i] = _real(T, code, (scale, zero, low, high))

    return add


STEPS: dict[str, Callable[[PointwiseClass], Any]] = {
    "codes": _codes,
    "reals": _reals,
    "lookup": _lookup,
    "masked": _masked,
    "requantise": _requantise,
    "requantise_inside": _requantise,
    "requantise_affine": _requantise_affine,
    "requantise_affine_inside": _requantise_affine,
    "add": _add,
    "add_inside": _add,
}
