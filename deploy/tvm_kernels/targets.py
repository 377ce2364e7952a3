"""Machines that `compile_tvm` builds for, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from approx.tvm_adapter import host_isa, isa_target, require_tvm
from deploy.tvm_kernels.geometry import Tiling

_WIDE = Tiling(lanes=16, positions=8)  # 8 x 16 sums fill 8 of 32 512-bit registers
_NARROW = Tiling(lanes=16, positions=4)


@dataclass(frozen=True, eq=False)
class TvmTarget:
    """A machine.

    Attributes:
        name: as given to `compile_tvm`.
        target: the `tvm.target.Target`.
        tiling: register tile of its convolutions.
        runs_here: whether this host can run the code.
        avx512: AVX-512BW instructions may be used.
        vnni: AVX-512 VNNI instructions may be used.
    """

    name: str
    target: Any
    tiling: Tiling
    runs_here: bool
    avx512: bool = False
    vnni: bool = False


def _host() -> TvmTarget:
    isa = host_isa()
    vnni = isa == "x86-64-v4" and bool(torch.cpu.get_capabilities().get("avx512_vnni"))
    if vnni:
        target = require_tvm().target.Target({"kind": "llvm", "mcpu": isa, "mattr": ["+avx512vnni"]})
    else:
        target = isa_target(isa)
    return TvmTarget("host", target, _WIDE if isa == "x86-64-v4" else _NARROW, True, isa == "x86-64-v4", vnni)


def _level(isa: str) -> Callable[[], TvmTarget]:
    def make() -> TvmTarget:
        levels = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
        here = host_isa()
        runs = isa == here or (isa in levels and here in levels and levels.index(isa) <= levels.index(here))
        return TvmTarget(isa, isa_target(isa), _WIDE if isa == "x86-64-v4" else _NARROW, runs, isa == "x86-64-v4")

    return make


TARGETS: dict[str, Callable[[], TvmTarget]] = {
    "host": _host,
    **{isa: _level(isa) for isa in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64")},
}


def tvm_target(name: str) -> TvmTarget:
    """The machine of that name.

    Raises:
        ValueError: no such target.
        ImportError: TVM cannot be used.
    """
    if name not in TARGETS:
        raise ValueError(f"unknown TVM target: expected one of {', '.join(sorted(TARGETS))}, got {name!r}")
    return TARGETS[name]()
