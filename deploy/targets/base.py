"""The contract of a target, and what a build gives."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, final

from deploy.c_source import emit_c
from deploy.golden import GoldenVectors, random_golden, save_golden
from deploy.program import Program
from deploy.program_file import save_program

_GOLDEN_COUNT = 4


@dataclass(frozen=True)
class Sizes:
    """Memory the network needs on the device, in bytes.

    Attributes:
        flash: code, weights, tables and initial values.
        ram: static variables, the arena included.
        stack: deepest stack seen while running; None where it was not measured.
    """

    flash: int
    ram: int
    stack: int | None


@dataclass(frozen=True)
class Check:
    """Outcome of a test of what was built.

    Attributes:
        name: what was checked.
        outcome: "skipped" says why in `detail`.
        detail: one line for people.
    """

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str


@dataclass(frozen=True)
class Artifact:
    """What was built.

    Attributes:
        target: its name.
        folder: where the files are.
        files: paths relative to `folder`.
        sizes: memory it needs.
        checks: outcomes of the golden check and others.
        instructions: per run, where the target can count them.
    """

    target: str
    folder: Path
    files: tuple[str, ...]
    sizes: Sizes
    checks: tuple[Check, ...]
    instructions: int | None = None

    @property
    def passed(self) -> bool:
        """No check failed (skipped ones do not count as failures)."""
        return all(check.outcome != "failed" for check in self.checks)


class Target(ABC):
    """A device. Subclasses are final and say how to compile and how to check.

    `build` writes sources, program and golden vectors, then calls `compile` and `check` in a temporary folder
    beside the output folder; the output folder appears complete or not at all.
    """

    name: ClassVar[str]

    @final
    def build(self, program: Program, folder: Path, golden: GoldenVectors | None = None) -> Artifact:
        """Builds a program.

        Args:
            program: what to build.
            folder: output folder; an earlier build in it is replaced.
            golden: vectors to check with; a few random ones if None.

        Raises:
            ValueError: an invalid program, or `folder` holds something else than a build.
            deploy.zig.BuildError: the compiler refused, e.g. because the memory of the device is too small.
        """
        folder = Path(folder)
        if folder.exists() and not (folder / "net.h").is_file() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds other files than an earlier build; choose another folder or empty it")
        golden = golden or random_golden(program, _GOLDEN_COUNT)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            draft = Path(temporary) / "build"
            draft.mkdir()
            for name, text in emit_c(program).items():
                (draft / name).write_text(text, encoding="ascii")
            save_program(program, draft / "program.safetensors")
            save_golden(golden, draft / "golden.safetensors")
            sizes = self.compile(program, golden, draft)
            artifact = self.check(golden, draft, sizes)
            if folder.exists():
                shutil.rmtree(folder)
            draft.rename(folder)
        files = tuple(sorted(path.name for path in folder.iterdir()))
        return replace(artifact, folder=folder, files=files)

    @abstractmethod
    def compile(self, program: Program, golden: GoldenVectors, folder: Path) -> Sizes:
        """Compiles `net.c` in `folder`; everything left there is part of the build."""

    @abstractmethod
    def check(self, golden: GoldenVectors, folder: Path, sizes: Sizes) -> Artifact:
        """Runs the golden vectors if it can; `build` fills in the artifact's folder and files."""
