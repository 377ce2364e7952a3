"""The depthwise low-rank kernel as TVMScript: a register holds channels, each a sum over taps of its own."""

# The body under @T.prim_func is TVMScript: TVM parses its source, Python never runs it.
# mypy: disable-error-code="name-defined,no-untyped-def"
# ruff: noqa: C901, PLR0913

from dataclasses import dataclass
from typing import Any

from ..tvm_adapter import tvm_submodule

POSITIONS = 6
"""Positions of a block, which share the weights they load."""


@dataclass(frozen=True)
class DepthwiseClass:
    """What distinguishes one compiled depthwise kernel from another.

    Attributes:
        isa: instruction set with features.
        lanes: channels of a register, at most as many as the layer has.
        codes: type of the mapped codes, "uint8" or "int16".
    """

    isa: str
    lanes: int
    codes: str

    @property
    def name(self) -> str:
        """Symbol of the compiled function, also part of the cache file's name."""
        return f"depthwise_l{self.lanes}_{self.codes}"


def depthwise_kernel(kernel: DepthwiseClass) -> Any:
    """TVM function of one kernel class.

    Its arguments (all tensors contiguous, sizes free): mapped [R, codes]; position i32 [P] and tap i32 [K], channel 0
    of a product being at `position[p] + tap[k]`; weight i32 [R, K, C]; scale i32 [R]; channel_start i32 [C] and
    position_start i32 [P or 1, C], what sums start with, the latter's rows `step` (1 or 0) apart; out i32 [P, C];
    workspaces total and plane i32 of a block; step; first and last block of positions, of which the last is moved to
    end with the last position.

    Raises:
        ImportError: TVM cannot be used.
    """
    T = tvm_submodule("script.tirx")
    lanes = kernel.lanes

    def span(first: Any) -> Any:
        return T.Ramp(first, 1, lanes) if lanes > 1 else first

    def wide(first: Any) -> Any:
        return T.Ramp(T.cast(first, "int64"), T.int64(1), lanes) if lanes > 1 else T.cast(first, "int64")

    def copied(value: Any) -> Any:
        return T.Broadcast(value, lanes) if lanes > 1 else value

    def integers(codes: Any) -> Any:
        return T.cast(codes, f"int32x{lanes}" if lanes > 1 else "int32")

    @T.prim_func
    def depthwise(
        mapped: T.handle,
        position: T.handle,
        tap: T.handle,
        weight: T.handle,
        scale: T.handle,
        channel_start: T.handle,
        position_start: T.handle,
        out: T.handle,
        total: T.handle,
        plane: T.handle,
        step: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": kernel.name, "tirx.noalias": True})
        N, P, K, R, C, S = T.int64(), T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        Map = T.match_buffer(mapped, (R, N), kernel.codes, align=1)
        At = T.match_buffer(position, (P,), "int32", align=4)
        Tap = T.match_buffer(tap, (K,), "int32", align=4)
        Weight = T.match_buffer(weight, (R, K, C), "int32", align=4)
        Scale = T.match_buffer(scale, (R,), "int32", align=4)
        Channel = T.match_buffer(channel_start, (C,), "int32", align=4)
        Position = T.match_buffer(position_start, (S, C), "int32", align=4)
        Out = T.match_buffer(out, (P, C), "int32", align=4)
        Total = T.match_buffer(total, (POSITIONS * lanes,), "int32", align=4)
        Plane = T.match_buffer(plane, (POSITIONS * lanes,), "int32", align=4)
        for block in T.serial(first, last):
            p: T.let = T.max(T.min(block * POSITIONS, P - POSITIONS), 0)
            for c in T.serial(T.truncdiv(C + lanes - 1, lanes)):
                channel: T.let = T.min(c * lanes, C - lanes)
                for i in T.unroll(POSITIONS):
                    Total[span(i * lanes)] = (
                        Channel[span(channel)] + Position[T.min(p + i, P - 1) * step, span(channel)]
                    )
                for q in T.serial(R):
                    for i in T.unroll(POSITIONS):
                        Plane[span(i * lanes)] = copied(T.int32(0))
                    for k in T.serial(K):
                        for i in T.unroll(POSITIONS):
                            Plane[span(i * lanes)] = (
                                Plane[span(i * lanes)]
                                + integers(Map[q, wide(At[T.min(p + i, P - 1)] + Tap[k] + channel)])
                                * Weight[q, k, span(channel)]
                            )
                    for i in T.unroll(POSITIONS):
                        Total[span(i * lanes)] = Total[span(i * lanes)] + Plane[span(i * lanes)] * copied(Scale[q])
                for i in T.unroll(POSITIONS):
                    Out[T.min(p + i, P - 1), span(channel)] = Total[span(i * lanes)]

    return depthwise
