"""Compiles the kernels that a wheel brings, for Linux on x86-64 and AArch64.

    python -m approx.kernels.shipping [FOLDER]

With them a machine needs only `tvm_ffi` (12 MB) to simulate circuits, and no first use is slow. They are entries of the
kernel cache (`compiled.py`) in a folder beside this file, not kept in the repository: `make wheel` makes them. Every
kernel that the paths may ask for is listed here.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from . import (
    byte_lookup_script,
    byte_transpose_script,
    compiled,
    depthwise_script,
    gather_script,
    low_rank_operands_script,
    low_rank_script,
    pointwise_script,
    row_table_script,
)
from .byte_lookup import possible_registers
from .byte_tables import FEATURE
from .row_table import block_sizes

ISAS = (
    "x86-64-v3",
    "x86-64-v3+avxvnni",
    "x86-64-v4",
    "x86-64-v4+avx512vnni",
    "x86-64-v4+avx512vnni+avx512vbmi",
    "aarch64",
    "aarch64+dotprod",
)
Kernel = tuple[Any, Callable[[Any], Any], ModuleType]
"""A kernel's class, what makes its TVM function, and the module that holds both."""


def kernels(isa: str) -> Iterator[Kernel]:
    """Every kernel a machine of one of `ISAS` may ask for."""
    level = isa.split("+")[0]
    yield gather_script.GatherClass(level), gather_script.gather_kernel, gather_script
    for rows in _row_tables(level):
        yield rows, row_table_script.row_table_kernel, row_table_script
    for step in pointwise_script.STEPS:
        yield pointwise_script.PointwiseClass(level, step), pointwise_script.pointwise_kernel, pointwise_script
    yield from _low_rank(isa)
    if FEATURE in isa.split("+"):
        yield from _byte_lookups(f"{level}+{FEATURE}")


def _row_tables(level: str) -> list[row_table_script.KernelClass]:
    """The classes of all block sizes, whatever the layer."""
    found = set()
    for pair, outputs, products in itertools.product((False, True), (16, 64), range(8, 400, 8)):
        blocks, k_block = block_sizes(level, pair, outputs, products)
        found |= {row_table_script.KernelClass(level, block, k_block, pair) for block in blocks}
    return sorted(found)


def _low_rank(isa: str) -> Iterator[Kernel]:
    dot = low_rank_script.dot_of(isa)
    if dot is None:
        return
    for registers in (r for r in (1, 2, 4, 8) if r <= dot.block[1]):
        yield low_rank_script.ProductsClass(isa, registers), low_rank_script.products_kernel, low_rank_script
    for part in low_rank_operands_script.PARTS:
        operand = low_rank_operands_script.OperandClass(isa, part, dot.lanes, dot.group)
        yield operand, low_rank_operands_script.operand_kernel, low_rank_operands_script
    codes = "uint8" if dot.group == 4 else "int16"
    for lanes in (n for n in (1, 2, 4, 8, 16) if n <= dot.lanes):
        yield depthwise_script.DepthwiseClass(isa, lanes, codes), depthwise_script.depthwise_kernel, depthwise_script


def _byte_lookups(isa: str) -> Iterator[Kernel]:
    for planes in (1, 2, 3, 4):
        for registers in possible_registers(planes):
            for select, positions in (("int16", True), ("int32", True), ("uint8", False)):
                kernel = byte_lookup_script.LookupClass(isa, planes, registers, select, positions)
                yield kernel, byte_lookup_script.lookup_kernel, byte_lookup_script
    for source in ("uint8", "int16", "int32"):
        transpose = byte_transpose_script.TransposeClass(isa, source)
        yield transpose, byte_transpose_script.transpose_kernel, byte_transpose_script


def ship(folder: Path, isas: tuple[str, ...] = ISAS) -> list[Path]:
    """Compiles every kernel of some instruction sets into a folder; what it holds already stays.

    Returns:
        The files, one a kernel.

    Raises:
        ImportError: TVM cannot be used.
        RuntimeError: there is no linker.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[Path, None] = {}
    for isa in isas:
        for kernel, script, module in kernels(isa):
            file = folder / compiled.entry_file(kernel.name, kernel.isa, Path(str(module.__file__)))
            if not compiled.is_whole(file):
                compiled.write(compiled.build(kernel, kernel.name, kernel.isa, script), file)
            files[file] = None
    return list(files)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=compiled.shipped_folder())
    folder = parser.parse_args().folder
    files = ship(folder)
    for stale in set(folder.glob("*.so")) - set(files):
        stale.unlink()
    size = sum(file.stat().st_size for file in files)
    print(f"{folder}: {len(files)} kernels, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
