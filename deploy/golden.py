"""Golden vectors: inputs with the outputs every back end must reproduce, integer for integer."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deploy.interpreter import run
from deploy.program import Int16, Program, UInt8


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Inputs and the outputs they must give.

    Attributes:
        inputs: uint8 [N, *shape], codes.
        outputs: int16 [N, F], what the interpreter gives.
    """

    inputs: UInt8
    outputs: Int16

    def __post_init__(self) -> None:
        right = self.inputs.dtype == np.uint8 and self.outputs.dtype == np.int16
        if not right or len(self.inputs) != len(self.outputs) or len(self.inputs) == 0:
            raise ValueError(
                f"golden vectors need as many uint8 inputs as int16 outputs, got "
                f"{self.inputs.dtype} {self.inputs.shape} and {self.outputs.dtype} "
                f"{self.outputs.shape}; make them with make_golden"
            )


@dataclass(frozen=True)
class Comparison:
    """Outcome of a golden check.

    Attributes:
        vectors: how many were compared.
        mismatches: output codes that differ, over all vectors.
        first: what differs first, in words; empty if nothing does.
    """

    vectors: int
    mismatches: int
    first: str

    @property
    def equal(self) -> bool:
        """Every code is equal."""
        return self.mismatches == 0


def make_golden(program: Program, codes: UInt8, *, kernels: str = "reference") -> GoldenVectors:
    """Golden vectors of a program on given input codes uint8 [N, *shape]."""
    return GoldenVectors(codes, run(program, codes, kernels=kernels))


def random_golden(program: Program, count: int, seed: int = 0) -> GoldenVectors:
    """Golden vectors on random codes, the first all 0 and the second all 255."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (count, *program.tensors[program.input].shape), dtype=np.uint8)
    codes[:1], codes[1:2] = 0, 255
    return make_golden(program, codes)


def save_golden(golden: GoldenVectors, path: str | os.PathLike[str]) -> None:
    """Writes golden vectors as one safetensors file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {
        "inputs": np.ascontiguousarray(golden.inputs),
        "outputs": np.ascontiguousarray(golden.outputs),
    }
    save_file(arrays, path)


def load_golden(path: str | os.PathLike[str]) -> GoldenVectors:
    """Reads golden vectors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated or holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no golden vectors {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            return GoldenVectors(file.get_tensor("inputs"), file.get_tensor("outputs"))
    except SafetensorError as error:
        raise ValueError(f"{path} holds no golden vectors ({error}); make them again") from error


def compare_golden(golden: GoldenVectors, outputs: npt.NDArray[np.integer]) -> Comparison:
    """Compares a back end's outputs, integers [N, F], with the golden ones; a wrong shape is a ValueError."""
    if outputs.shape != golden.outputs.shape:
        raise ValueError(f"expected outputs {golden.outputs.shape}, got {outputs.shape}; run every golden input")
    wrong = np.argwhere(outputs != golden.outputs)
    first = ""
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        first = f"vector {place[0]}, output {place[1:]}: expected {golden.outputs[place]}, got {outputs[place]}"
    return Comparison(len(golden.inputs), len(wrong), first)
