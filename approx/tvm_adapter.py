"""The one place that imports TVM.

Everything else reaches TVM through `require_tvm` or `tvm_submodule`, so that no TVM import happens when
picojoule, approx or deploy are imported, and so that the supported versions are checked in one place.

Two packages are pinned. `apache-tvm` has no stable Python interface from release to release. `apache-tvm-ffi`
must be 0.1.14: with 0.1.15 creating a `meta_schedule` tuning context crashes the process.
"""

import importlib
import importlib.util
import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

TVM_VERSIONS = ("0.27.0.post1",)
TVM_FFI_VERSIONS = ("0.1.14.post0", "0.1.14.post1")
_INSTALL = f"pip install apache-tvm=={TVM_VERSIONS[0]} apache-tvm-ffi=={TVM_FFI_VERSIONS[0]}"

_X86_LEVELS = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3", "DEFAULT": "x86-64-v2"}
# features kernels make use of, by level: their names in /proc/cpuinfo and in LLVM
_FEATURES = {
    "x86-64-v4": {"avx512_vnni": "avx512vnni", "avx512vbmi": "avx512vbmi"},
    "x86-64-v3": {"avx_vnni": "avxvnni"},
    "aarch64": {"asimddp": "dotprod"},
}
_CPUINFO = Path("/proc/cpuinfo")
_X86_MACHINES = ("x86_64", "amd64")
_ARM_MACHINES = ("aarch64", "arm64")


def _version_problem(distribution: str, supported: tuple[str, ...]) -> str | None:
    try:
        found = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return f"{distribution} is not installed: expected {' or '.join(supported)}. Run: {_INSTALL}"
    if found not in supported:
        return f"{distribution} {found} is not supported: expected {' or '.join(supported)}. Run: {_INSTALL}"
    return None


@cache
def ffi_problem() -> str | None:
    """Says why the TVM runtime interface (`tvm_ffi`) cannot be used, or None if it can. Imports nothing."""
    return _version_problem("apache-tvm-ffi", TVM_FFI_VERSIONS)


@cache
def tvm_problem() -> str | None:
    """Says why the TVM compiler cannot be used, or None where it can. Imports nothing."""
    return _version_problem("apache-tvm", TVM_VERSIONS) or ffi_problem()


def tvm_available() -> bool:
    """True where both TVM packages are installed in a supported version. Imports nothing."""
    return tvm_problem() is None


def require_tvm() -> ModuleType:
    """Imports TVM (about 2 s the first time).

    Returns:
        The module `tvm`.

    Raises:
        ImportError: a package is missing or its version is not one of the pinned ones; the message holds the
        command.
    """
    problem = tvm_problem()
    if problem is not None:
        raise ImportError(problem)
    return importlib.import_module("tvm")


def tvm_submodule(name: str) -> ModuleType:
    """Imports `tvm.<name>`, for instance "relax", "te", "topi", "s_tir", "script.tirx" or "script.ir".

    Raises:
        ImportError: as `require_tvm`, or when that TVM has no such submodule.
    """
    require_tvm()
    return importlib.import_module(f"tvm.{name}")


def require_tvm_ffi() -> ModuleType:
    """Imports only TVM's runtime interface (`tvm_ffi`, 12 MB), enough to load and call compiled kernels.

    Raises:
        ImportError: the package is missing or its version is not one of the pinned ones.
    """
    problem = ffi_problem()
    if problem is not None:
        raise ImportError(problem)
    return importlib.import_module("tvm_ffi")


@cache
def host_isa() -> str:
    """Names the instruction set kernels are compiled for here; imports no TVM.

    "x86-64-v4" (AVX-512), "x86-64-v3" (AVX2), "x86-64-v2", "aarch64", otherwise the machine name ("riscv64").
    x86 levels rather than processor names, so that a cached kernel serves every machine of its level, and so
    that a hypervisor which hides instructions is believed. `ATEN_CPU_CAPABILITY=avx2` lowers the level, as it
    does for torch.
    """
    machine = platform.machine().lower()
    if machine in _X86_MACHINES:
        return _X86_LEVELS.get(torch.backends.cpu.get_cpu_capability(), "x86-64-v2")
    return "aarch64" if machine in _ARM_MACHINES else machine


@cache
def _cpu_flags() -> frozenset[str]:
    """Every feature the kernel of Linux reports; empty on other systems."""
    return frozenset(_CPUINFO.read_text().split()) if _CPUINFO.exists() else frozenset()


def host_features() -> tuple[str, ...]:
    """Features of this machine beyond its level (`host_isa`) that kernels make use of, by their LLVM names.

    "avx512vnni" and "avx512vbmi" with AVX-512, "avxvnni" with AVX2, "dotprod" with aarch64: integer dot products
    and byte look-ups. Known on Linux only, from what the system reports; elsewhere none is assumed.
    """
    return tuple(name for flag, name in _FEATURES.get(host_isa(), {}).items() if flag in _cpu_flags())


def isa_target(isa: str) -> Any:
    """TVM target (LLVM) of an instruction set named as by `host_isa`, features appended as "x86-64-v3+avxvnni".

    Args:
        isa: "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", or the machine name of this host.

    Raises:
        ValueError: neither an x86 level, aarch64, nor this host.
        ImportError: TVM cannot be used (`require_tvm`).
    """
    tvm = require_tvm()
    isa, *features = isa.split("+")
    extra = {"mattr": [f"+{feature}" for feature in features]} if features else {}
    if isa in _X86_LEVELS.values():
        foreign = {} if host_isa() in _X86_LEVELS.values() else {"mtriple": "x86_64-linux-gnu"}
        return tvm.target.Target({"kind": "llvm", "mcpu": isa, **foreign, **extra})
    if isa == "aarch64":
        foreign = {} if host_isa() == "aarch64" else {"mtriple": "aarch64-linux-gnu"}
        return tvm.target.Target({"kind": "llvm", "mcpu": "generic", **foreign, **extra})
    if isa == host_isa():
        return tvm.target.Target({"kind": "llvm"})
    known = sorted({*_X86_LEVELS.values(), "aarch64", host_isa()})
    raise ValueError(f"unknown instruction set: expected one of {known}, got {isa!r}")


def host_target() -> Any:
    """TVM target (LLVM) of this machine's processor, from the features it reports (`host_isa`).

    Raises:
        ImportError: TVM cannot be used (`require_tvm`).
    """
    return isa_target(host_isa())


def torch_to_tvm(tensor: torch.Tensor) -> Any:
    """Views a contiguous CPU tensor as a `tvm.runtime.Tensor` without copying; both share memory.

    Compiled functions also take torch tensors directly; this is for interfaces that insist on a TVM tensor.

    Raises:
        ValueError: the tensor is not on the CPU or not contiguous.
        ImportError: TVM cannot be used (`require_tvm`).
    """
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise ValueError(
            f"cannot share a tensor with TVM: expected a contiguous CPU tensor, got device {tensor.device}, "
            f"shape {list(tensor.shape)}, strides {list(tensor.stride())}; call .cpu().contiguous() first"
        )
    return require_tvm().runtime.from_dlpack(tensor.detach())


def set_tvm_threads(threads: int) -> None:
    """Sets how many threads TVM's own pool uses for `T.parallel` loops and multi-threaded virtual machines.

    TVM reads `TVM_NUM_THREADS` once, when its pool starts, and uses 1 by default in small containers; this
    works at any time. The environment variable is set as well, for child processes.

    Raises:
        ValueError: threads is not positive.
        ImportError: TVM cannot be used (`require_tvm`).
    """
    if threads < 1:
        raise ValueError(f"expected at least 1 thread, got {threads}")
    os.environ["TVM_NUM_THREADS"] = str(threads)
    tvm = require_tvm()
    tvm.get_global_func("runtime.config_threadpool")(0, threads)


def can_link() -> bool:
    """True where `export_shared` works: Linux, with the `ziglang` wheel (its linker; no compiler is run)."""
    return sys.platform == "linux" and importlib.util.find_spec("ziglang") is not None


def _link_with_lld(output: str, objects: list[str], options: list[str] | None = None) -> None:
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "ld.lld",
        "-shared",
        "--strip-all",
        "-o",
        output,
        *objects,
        *(options or []),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"linking {output} failed (exit status {result.returncode}): {result.stderr.strip()}")


def export_shared(executable: Any, path: Path) -> None:
    """Writes a compiled module as a shared library that needs only `tvm_ffi` to load.

    Args:
        executable: what `tvm.compile` returned.
        path: the file to write; not atomic, so write beside the final name and use `os.replace`.

    Raises:
        RuntimeError: no linker here (`can_link` is False), or linking failed.
    """
    if not can_link():
        raise RuntimeError("cannot link a shared library: expected Linux with the ziglang wheel (pip install ziglang)")
    executable.export_library(str(path), fcompile=_link_with_lld)


def load_shared(path: Path) -> Any:
    """Loads a shared library written by `export_shared`; functions are taken by name: `library["name"]`.

    Raises:
        ImportError: `tvm_ffi` cannot be used (`require_tvm_ffi`).
    """
    return require_tvm_ffi().load_module(str(path.resolve()))
