"""64-bit Intel and AMD machines with Linux."""

import platform
from pathlib import Path
from typing import ClassVar, final

from deploy.golden import GoldenVectors
from deploy.program import Program
from deploy.targets.base import Artifact, Sizes, Target
from deploy.targets.linux import compile_linux, find_emulator, golden_check


@final
class X8664(Target):
    """Static library and golden executable; the check runs natively, else in qemu-x86_64."""

    name: ClassVar[str] = "x86-64"

    def compile(self, program: Program, golden: GoldenVectors, folder: Path) -> Sizes:
        """See `compile_linux`."""
        return compile_linux("x86_64-linux-musl", golden, folder)

    def check(self, golden: GoldenVectors, folder: Path, sizes: Sizes) -> Artifact:
        """Runs the golden executable."""
        native = platform.system() == "Linux" and platform.machine() in ("x86_64", "AMD64")
        runner = [] if native else find_emulator("qemu-x86_64", "qemu-x86_64-static")
        check = golden_check(folder, runner, "this machine is no x86-64 Linux and has no qemu-x86_64")
        return Artifact(self.name, folder, (), sizes, (check,))
