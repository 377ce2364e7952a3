"""Arm Cortex-M4 microcontrollers: a bootable image and a library, checked in an emulator."""

import importlib.util
from importlib import resources
from pathlib import Path
from typing import ClassVar, final

from deploy.elf import read_elf
from deploy.emulator import EmulationError, Memory, emulate
from deploy.golden import GoldenVectors, compare_golden
from deploy.program import Program
from deploy.targets.base import Artifact, Check, Sizes, Target
from deploy.zig import BuildError, run_zig

_FLAGS = (
    *("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4", "-std=c99"),
    *("-Wall", "-Wextra", "-Werror", "-O2", "-g0"),
    *("-fbuiltin", "-fomit-frame-pointer", "-ffunction-sections"),
)


@final
class CortexM4(Target):
    """A microcontroller with an Arm Cortex-M4 (DSP instructions, no operating system).

    Args:
        flash_bytes: flash memory of the device.
        ram_bytes: RAM of the device.
        stack_bytes: RAM kept free for the stack.
    """

    name: ClassVar[str] = "cortex-m4"

    def __init__(self, flash_bytes: int = 1 << 20, ram_bytes: int = 256 << 10, stack_bytes: int = 2048) -> None:
        self.memory = Memory(flash_bytes, ram_bytes)
        self.stack_bytes = stack_bytes

    def compile(self, program: Program, golden: GoldenVectors, folder: Path) -> Sizes:
        """Builds `net.elf` (boots and runs once, from `pj_input` to `pj_output`) and `libnet.a`."""
        files = resources.files("deploy.targets")
        script = files.joinpath("cortex_m4.ld").read_text(encoding="ascii")
        for word, value in (
            ("FLASH_BYTES", self.memory.flash_bytes),
            ("RAM_BYTES", self.memory.ram_bytes),
            ("STACK_BYTES", self.stack_bytes),
        ):
            script = script.replace(word, str(value))
        (folder / "device.ld").write_text(script, encoding="ascii")
        start = files.joinpath("cortex_m4_start.c").read_text(encoding="ascii")
        (folder / "start.c").write_text(start, encoding="ascii")
        run_zig(["cc", *_FLAGS, "-c", "net.c", "-o", "net.o"], folder)
        run_zig(["ar", "rcs", "libnet.a", "net.o"], folder)
        sizes = read_elf(folder / "net.o")
        link = ["-nostdlib", "-T", "device.ld", "start.c", "net.o", "-o", "net.elf"]
        try:
            run_zig(["cc", *_FLAGS, *link], folder)
        except BuildError as error:
            if "will not fit in region" not in str(error):
                raise
            raise BuildError(
                f"the network needs {sizes.flash_bytes} bytes of flash and {sizes.ram_bytes} of RAM plus "
                f"input, output and {self.stack_bytes} of stack; the device has {self.memory.flash_bytes} and "
                f"{self.memory.ram_bytes}. Choose a larger device or a smaller network"
            ) from error
        (folder / "net.o").unlink()
        return Sizes(sizes.flash_bytes, sizes.ram_bytes, None)

    def check(self, golden: GoldenVectors, folder: Path, sizes: Sizes) -> Artifact:
        """Runs the golden vectors in the emulator, counting instructions and stack."""
        if importlib.util.find_spec("unicorn") is None:
            reason = "the emulator is not installed: pip install 'picojoule[emulate]'"
            return Artifact(self.name, folder, (), sizes, (Check("golden", "skipped", reason),))
        try:
            result = emulate(folder / "net.elf", golden.inputs, golden.outputs.shape[1], self.memory)
        except EmulationError as error:
            return Artifact(self.name, folder, (), sizes, (Check("golden", "failed", str(error)),))
        comparison = compare_golden(golden, result.outputs)
        detail = f"{comparison.mismatches} mismatches in {comparison.vectors} vectors"
        detail += f", {result.instructions} instructions"
        checks = (
            Check("golden", "passed" if comparison.equal else "failed", f"{detail} {comparison.first}".strip()),
            self._stack_check(result.stack_bytes),
        )
        measured = Sizes(sizes.flash, sizes.ram, result.stack_bytes)
        return Artifact(self.name, folder, (), measured, checks, result.instructions)

    def _stack_check(self, used: int) -> Check:
        detail = f"{used} bytes used of {self.stack_bytes} kept free"
        return Check("stack", "passed" if used <= self.stack_bytes else "failed", detail)
