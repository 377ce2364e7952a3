"""The AVX-512 VNNI dot product as a TVM tensor intrinsic: 16 lanes, each adds four products of the same four codes."""

# The annotations below are TVMScript, not Python types.
# mypy: disable-error-code="name-defined,valid-type"

from approx.tvm_adapter import tvm_submodule

LANES = 16
DEPTH = 4
_INTRINSIC = "picojoule_dot_16x4_u8s8"


def dot_product_intrinsic() -> str:
    """Describes the instruction to TVM, once, and returns its name for `Schedule.tensorize`.

    Raises:
        ImportError: TVM cannot be used.
    """
    T, s_tir = tvm_submodule("script.tirx"), tvm_submodule("s_tir")
    if s_tir.TensorIntrin.get(_INTRINSIC, allow_missing=True) is not None:
        return _INTRINSIC

    @T.prim_func(s_tir=True)
    def meaning(
        codes: T.Buffer((4,), "uint8", offset_factor=1),
        weight: T.Buffer((16, 4), "int8", offset_factor=1),
        sums: T.Buffer((16,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(sums[0:16], codes[0:4], weight[0:16, 0:4])
            T.writes(sums[0:16])
            for i in T.serial(0, 16):
                for k in T.serial(0, 4):
                    with T.sblock("update"):
                        lane, depth = T.axis.remap("SR", [i, k])
                        sums[lane] = sums[lane] + T.cast(codes[depth], "int32") * T.cast(weight[lane, depth], "int32")

    @T.prim_func(s_tir=True)
    def instruction(
        codes: T.Buffer((4,), "uint8", offset_factor=1),
        weight: T.Buffer((16, 4), "int8", offset_factor=1),
        sums: T.Buffer((16,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(sums[0:16], codes[0:4], weight[0:16, 0:4])
            T.writes(sums[0:16])
            sums[T.Ramp(0, 1, 16)] = T.call_llvm_pure_intrin(
                "int32x16",
                "llvm.x86.avx512.vpdpbusd.512",
                sums.vload([0], "int32x16"),
                T.reinterpret("uint8x64", T.Broadcast(T.reinterpret("int32", codes.vload([0], "uint8x4")), 16)),
                weight.vload([0, 0], "int8x64"),
            )

    s_tir.TensorIntrin.register(_INTRINSIC, meaning, instruction)
    return _INTRINSIC
