"""TVM back end: the integer program compiled by LLVM for this machine or another one.

TVM is given integer kernels written for the program's operations (`deploy.tvm_kernels`), not an imported
network: TVM runs imported quantised networks in floating point. Sums are 32-bit, requantisation is
64-bit, and every output integer equals the golden model's.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from approx.tvm_adapter import export_shared, tvm_submodule
from deploy.accumulator import accumulator_bound
from deploy.check import check_program
from deploy.program import Conv2d, Linear, Program, TensorSpec
from deploy.tvm_kernels.module import compile_module, relax_module
from deploy.tvm_kernels.targets import TvmTarget, tvm_target


class TvmModule:
    """A compiled program.

    Attributes:
        machine: what it was compiled for.
        batch: samples of one call of the compiled code.
    """

    def __init__(self, executable: Any, machine: TvmTarget, batch: int, source: TensorSpec, result: TensorSpec) -> None:
        self.machine = machine
        self.batch = batch
        self._executable = executable
        self._source = source
        self._result = result
        self._virtual_machine: Any = None

    def run(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """Runs the program on this machine, `batch` samples at a time.

        Args:
            codes: uint8 [N, H, W, C] or [N, F].

        Returns:
            int16 [N, F] output codes.

        Raises:
            ValueError: wrong shape or dtype, or the module was compiled for another machine.
        """
        expected = self._source.shape
        if codes.dtype != np.uint8 or codes.shape[1:] != expected:
            raise ValueError(f"expected uint8 codes {('N', *expected)}, got {codes.dtype} {codes.shape}")
        call = self._entry()
        tensor = tvm_submodule("runtime").tensor
        outputs = np.zeros((len(codes), *self._result.shape), np.int16)
        for start in range(0, len(codes), self.batch):
            part = codes[start : start + self.batch]
            chunk = np.zeros((self.batch, *expected), np.uint8)
            chunk[: len(part)] = part
            outputs[start : start + len(part)] = call(tensor(chunk)).numpy()[: len(part)]
        return outputs

    def latency_ms(self, repeats: int = 20, calls: int = 5) -> list[float]:
        """Wall times of one call of the compiled code in ms, each the mean of `calls`, on random codes."""
        self._entry()
        runtime = tvm_submodule("runtime")
        codes = np.random.default_rng(0).integers(0, 256, (self.batch, *self._source.shape), np.uint8)
        timer = self._virtual_machine.time_evaluator("main", runtime.cpu(), number=calls, repeat=repeats)
        return [1e3 * seconds for seconds in timer(runtime.tensor(codes)).results]

    def export(self, path: str | Path) -> Path:
        """Writes a shared library for the target; it is complete before it appears under its name.

        TVM's runtime loads it on the target (`tvm.runtime.load_module`); weights and tables are inside.

        Raises:
            RuntimeError: no linker on this machine (the ziglang wheel), or linking failed.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.so")
        try:
            export_shared(self._executable, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def _entry(self) -> Any:
        if not self.machine.runs_here:
            raise ValueError(
                f"this module was compiled for {self.machine.name!r}, which this machine cannot run; "
                "export it and run it there, or compile for 'host'"
            )
        if self._virtual_machine is None:
            relax, runtime = tvm_submodule("relax"), tvm_submodule("runtime")
            self._virtual_machine = relax.VirtualMachine(self._executable, runtime.cpu())
        return self._virtual_machine["main"]


def compile_tvm(program: Program, target: str = "host", *, batch: int = 1, tuned: bool = True) -> TvmModule:
    """Compiles a program with TVM.

    Args:
        program: the program.
        target: "host" (this machine), "x86-64-v2", "x86-64-v3", "x86-64-v4" or "aarch64".
        batch: samples of one call of the compiled code.
        tuned: False leaves TVM's default schedule, for comparison.

    Raises:
        ValueError: unknown target, batch below 1, an invalid program (`check_program`), or one whose sums may
            not fit 32 bits.
        ImportError: TVM is missing or not of the pinned version.
    """
    machine = tvm_target(target)
    if batch < 1:
        raise ValueError(f"expected a batch of at least 1, got {batch}")
    check_program(program)
    for operation in program.operations:
        if isinstance(operation, Conv2d | Linear):
            accumulator_bound(operation.weights, operation.name)
    executable = compile_module(relax_module(program, machine, batch, tuned), machine)
    return TvmModule(executable, machine, batch, program.tensors[program.input], program.tensors[program.output])
