"""The gather kernel as TVMScript: one look-up a product, in the given table as it is."""

# The body under @T.prim_func is TVMScript: TVM parses its source, Python never runs it.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: PLR0913

from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule


@dataclass(frozen=True)
class GatherClass:
    """What distinguishes one compiled gather kernel from another.

    Attributes:
        isa: instruction set, as named by `tvm_adapter.host_isa`.
    """

    isa: str
    name: str = "table_gather"


def gather_kernel(kernel: GatherClass) -> Any:
    """TVM function of one kernel class.

    Its arguments (all tensors contiguous, sizes free): codes u8 [bytes]; position i32 [P] and tap i32 [K],
    the code being at byte `position[p] + tap[k] + o // outputs * channels`; first i32 [O, K], the first entry
    of each weight's row; entry i32 [n_w * 256]; out i32 [P, O]; outputs and channels of a group; first and
    last position; first and last output channel.

    Raises:
        ImportError: TVM cannot be used.
    """
    T = tvm_submodule("script.tirx")

    @T.prim_func
    def table_gather(
        codes: T.handle,
        position: T.handle,
        tap: T.handle,
        first: T.handle,
        entry: T.handle,
        out: T.handle,
        outputs: T.int32,
        channels: T.int32,
        first_position: T.int32,
        last_position: T.int32,
        first_output: T.int32,
        last_output: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N, P, Q, E, R = T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        X = T.match_buffer(codes, (N,), "uint8", align=1)
        At = T.match_buffer(position, (P,), "int32", align=4)
        Tap = T.match_buffer(tap, (Q,), "int32", align=4)
        First = T.match_buffer(first, (R, Q), "int32", align=4)
        Entry = T.match_buffer(entry, (E,), "int32", align=4)
        Out = T.match_buffer(out, (P, R), "int32", align=4)
        for o in T.serial(first_output, last_output):
            for p in T.serial(first_position, last_position):
                Out[p, o] = 0
                for k in T.serial(Q):
                    Out[p, o] = (
                        Out[p, o] + Entry[First[o, k] + T.cast(X[At[p] + Tap[k] + o // outputs * channels], "int32")]
                    )

    return table_gather
