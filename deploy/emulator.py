"""Runs a Cortex-M4 image on many inputs in the `unicorn` emulator; counts instructions, measures the stack.

The emulator tells correctness, instructions and memory, not cycles.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deploy.elf import ElfFile, read_elf
from deploy.program import Int16, UInt8

FLASH_BASE = 0x0000_0000
RAM_BASE = 0x2000_0000
_PAGE = 4096
_PAINT = 0xA5
_STOP = ("pj_done", "pj_fault")


class EmulationError(RuntimeError):
    """The image left its memory or did not finish."""


@dataclass(frozen=True)
class Memory:
    """Sizes of a device's memories in bytes."""

    flash_bytes: int = 1 << 20
    ram_bytes: int = 256 << 10


@dataclass(frozen=True, eq=False)
class Emulation:
    """What a run gave.

    Attributes:
        outputs: int16 [N, F].
        instructions: passed between entering and leaving the network, on the first input; those that a condition
            skipped are counted (below 1 % in these kernels).
        stack_bytes: deepest stack below the entry of the network, over all inputs.
    """

    outputs: Int16
    instructions: int
    stack_bytes: int


def emulate(image: Path, inputs: UInt8, output_size: int, memory: Memory | None = None) -> Emulation:
    """Runs an image built by the "cortex-m4" target.

    Args:
        image: its `net.elf`.
        inputs: codes uint8 [N, *shape], N >= 1.
        output_size: F.
        memory: of the device; what lies outside faults.

    Raises:
        ModuleNotFoundError: the emulator is not installed.
        ValueError: no inputs, or the image is larger than the memory.
        EmulationError: the image read, wrote or executed outside its memory.
    """
    if len(inputs) == 0:
        raise ValueError("the emulator needs at least one input, got none")
    machine = _Machine(read_elf(image), memory or Memory())
    outputs = np.empty((len(inputs), output_size), np.int16)
    for index, codes in enumerate(inputs):
        outputs[index] = machine.run(codes, output_size, count=index == 0)
    return Emulation(outputs, machine.counter.instructions, machine.stack_bytes())


@dataclass
class _BlockCounter:
    """Counts executed instructions by basic block; a block is decoded once."""

    instructions: int = 0
    _lengths: dict[tuple[int, int], int] = field(default_factory=dict)

    def on_block(self, machine: Any, address: int, size: int, data: object) -> None:
        key = (address, size)
        count = self._lengths.get(key)
        if count is None:
            count = self._lengths[key] = count_thumb(bytes(machine.mem_read(address, size)))
        self.instructions += count


def count_thumb(code: bytes) -> int:
    """Instructions in Thumb-2 code; 32-bit ones begin with 0b11101, 0b11110 or 0b11111 (ARMv7-M, A5.1)."""
    position = count = 0
    while position < len(code):
        position += 4 if code[position + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
        count += 1
    return count


class _Machine:
    """One emulated device that has booted and stands at the entry of the network."""

    def __init__(self, elf: ElfFile, memory: Memory) -> None:
        try:
            import unicorn
            from unicorn import arm_const
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("running Cortex-M4 code needs: pip install 'picojoule[emulate]'") from error
        self._unicorn, self._registers = unicorn, arm_const
        self._symbols, self._memory = elf.symbols, memory
        self.counter = _BlockCounter()
        self._fault = ""
        self._machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._machine.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
        self._map()
        self._machine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_fault)
        for segment in elf.segments:
            if segment.load + len(segment.data) > FLASH_BASE + memory.flash_bytes:
                raise ValueError(f"the image does not fit into {memory.flash_bytes} bytes of flash")
            self._machine.mem_write(segment.load, segment.data)
        top = int.from_bytes(self._machine.mem_read(FLASH_BASE, 4), "little")
        self._stack = (self._symbols["pj_bss_end"], top)
        self._machine.reg_write(arm_const.UC_ARM_REG_SP, top)
        self._go(self._symbols["pj_reset"], self._symbols["picojoule_run"])
        self._entry_stack = self._machine.reg_read(arm_const.UC_ARM_REG_SP)
        low = self._stack[0]
        self._machine.mem_write(low, bytes([_PAINT]) * (self._entry_stack - low))

    def _map(self) -> None:
        u = self._unicorn
        for base, size, rights in (
            (FLASH_BASE, self._memory.flash_bytes, u.UC_PROT_READ | u.UC_PROT_EXEC),
            (RAM_BASE, self._memory.ram_bytes, u.UC_PROT_READ | u.UC_PROT_WRITE),
        ):
            if size <= 0 or size % _PAGE:
                raise ValueError(f"memory sizes must be multiples of {_PAGE} bytes, got {size}")
            self._machine.mem_map(base, size, rights)

    def _on_fault(self, machine: Any, access: int, address: int, size: int, value: int, data: object) -> bool:
        self._fault = f"access to {address:#010x}"
        return False

    def _go(self, start: int, stop: int) -> None:
        u = self._unicorn
        self._fault = ""
        try:
            self._machine.emu_start(start | 1, stop & ~1)
        except u.UcError as error:
            place = self._machine.reg_read(self._registers.UC_ARM_REG_PC)
            raise EmulationError(
                f"the image faulted at {place:#010x}: {self._fault or error}; the device has "
                f"{self._memory.flash_bytes} bytes of flash and {self._memory.ram_bytes} of RAM"
            ) from error

    def run(self, codes: UInt8, output_size: int, *, count: bool) -> Int16:
        """One run on codes uint8 [*shape]; int16 [F]."""
        r, u, s = self._registers, self._unicorn, self._symbols
        self._machine.mem_write(s["pj_input"], codes.tobytes())
        for register, value in (
            (r.UC_ARM_REG_R0, s["pj_input"]),
            (r.UC_ARM_REG_R1, s["pj_output"]),
            (r.UC_ARM_REG_SP, self._entry_stack),
            (r.UC_ARM_REG_LR, s["pj_done"] | 1),
        ):
            self._machine.reg_write(register, value)
        hook = self._machine.hook_add(u.UC_HOOK_BLOCK, self.counter.on_block) if count else None
        self._go(s["picojoule_run"], s["pj_done"])
        if hook is not None:
            self._machine.hook_del(hook)
        return np.frombuffer(bytes(self._machine.mem_read(s["pj_output"], 2 * output_size)), np.int16)

    def stack_bytes(self) -> int:
        """Bytes of stack touched below the network's entry since boot."""
        low = self._stack[0]
        painted = np.frombuffer(bytes(self._machine.mem_read(low, self._entry_stack - low)), np.uint8)
        touched = np.flatnonzero(painted != _PAINT)
        return int(len(painted) - touched[0]) if len(touched) else 0
