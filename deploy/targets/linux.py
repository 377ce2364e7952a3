"""Linux targets: a static library and a static executable that checks the golden vectors by itself."""

import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from deploy.c.writer import Writer
from deploy.elf import read_elf
from deploy.golden import GoldenVectors
from deploy.targets.base import Check, Sizes
from deploy.zig import run_zig

_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-g0")
_TIMEOUT_S = 600


def compile_linux(triple: str, golden: GoldenVectors, folder: Path) -> Sizes:
    """Builds `libnet.a` and `golden` from `net.c`.

    Args:
        triple: of zig, e.g. "x86_64-linux-musl".
        golden: vectors compiled into `golden`.
        folder: holds `net.c` and `net.h`.

    Returns:
        Sizes of the network alone, without C library.
    """
    template = resources.files("deploy.targets").joinpath("golden.c").read_text(encoding="ascii")
    writer = Writer()
    writer.constant("golden_inputs", golden.inputs)
    writer.constant("golden_outputs", golden.outputs)
    count = f"#define GOLDEN_COUNT {len(golden.inputs)}\n"
    (folder / "golden_vectors.h").write_text(count + "\n".join(writer.constants), encoding="ascii")
    (folder / "golden.c").write_text(template, encoding="ascii")
    target = ("-target", triple)
    run_zig(["cc", *target, *_FLAGS, "-c", "net.c", "-o", "net.o"], folder)
    run_zig(["ar", "rcs", "libnet.a", "net.o"], folder)
    run_zig(["cc", *target, *_FLAGS, "-static", "golden.c", "net.o", "-o", "golden"], folder)
    elf = read_elf(folder / "net.o")
    (folder / "net.o").unlink()
    return Sizes(elf.flash_bytes, elf.ram_bytes, None)


def golden_check(folder: Path, runner: Sequence[str] | None, reason: str) -> Check:
    """Runs the executable `golden`.

    Args:
        folder: where it is.
        runner: command before it, e.g. an emulator; None skips the check.
        reason: why it is skipped.
    """
    if runner is None:
        return Check("golden", "skipped", reason)
    command = [*runner, str((folder / "golden").resolve())]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    detail = (result.stdout.strip().splitlines() or [result.stderr.strip() or f"exit status {result.returncode}"])[-1]
    return Check("golden", "passed" if result.returncode == 0 else "failed", detail)


def find_emulator(*names: str) -> list[str] | None:
    """The first of these programs that is installed."""
    for name in names:
        path = shutil.which(name)
        if path:
            return [path]
    return None
