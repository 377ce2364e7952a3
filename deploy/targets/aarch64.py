"""64-bit Arm machines with Linux."""

import platform
from pathlib import Path
from typing import ClassVar, final

from deploy.golden import GoldenVectors
from deploy.program import Program
from deploy.targets.base import Artifact, Sizes, Target
from deploy.targets.linux import compile_linux, find_emulator, golden_check


@final
class Aarch64(Target):
    """Static library and golden executable; the check runs natively, else in qemu-aarch64."""

    name: ClassVar[str] = "aarch64"

    def compile(self, program: Program, golden: GoldenVectors, folder: Path) -> Sizes:
        """See `compile_linux`."""
        return compile_linux("aarch64-linux-musl", golden, folder)

    def check(self, golden: GoldenVectors, folder: Path, sizes: Sizes) -> Artifact:
        """Runs the golden executable."""
        native = platform.system() == "Linux" and platform.machine() in ("aarch64", "arm64")
        runner = [] if native else find_emulator("qemu-aarch64", "qemu-aarch64-static")
        check = golden_check(folder, runner, "this machine is no aarch64 Linux and has no qemu-aarch64")
        return Artifact(self.name, folder, (), sizes, (check,))
