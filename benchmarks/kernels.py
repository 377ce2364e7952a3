"""Table convolutions against torch's fp32 convolution of the same shape, in the same run.

    python -m benchmarks.kernels [--quick] [--json FILE]

Times run from uint8 codes to int32 sums: argument checks, padding and building the row tables are inside.
Codes look like activations after a ReLU (half of them near zero), weights are normal. "any table" holds
random entries over all 16 bits; "15-bit rows" is an approximate 8-bit product of |weight| <= 127, whose rows
can be added in pairs. "exact low rank" is an array multiplier that leaves out the cells of its lowest columns:
as many planes as columns, and one for the product. Goals are for one thread. Rows of an AVX2-only machine come from a
process of their own in which both sides stay on AVX2 (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from approx import tvm_adapter
from approx.kernels import low_rank, table_conv2d
from approx.kernels.dispatch import PATHS, cheapest
from approx.kernels.geometry import conv_geometry
from benchmarks._kernel_networks import forward_rows, memory_rows, training_rows
from benchmarks._report import Row, at_least, at_most, interleaved, publish

LAYERS = {
    "ResNet-20 128x16x32x32": (128, 16, 32),
    "ResNet-20 128x32x16x16": (128, 32, 16),
    "ResNet-20 128x64x8x8": (128, 64, 8),
    "ResNet-18 4x64x56x56": (4, 64, 56),
    "ResNet-18 16x256x14x14": (16, 256, 14),
}
# (O >= 32, O = 16): times of fp32 to stay below, by instruction set and by whether rows can be paired
GOALS = {("x86-64-v4", False): (1.4, 2.2), ("x86-64-v4", True): (1.15, 1.8)}
AVX2_GOALS = (1.8, 2.1)
LOW_RANK_GOALS = {1: 0.5, 2: 0.75, 3: 1.0}  # by planes; O >= 32, int8 dot products
ZERO_POINT = 3


def tables() -> dict[str, torch.Tensor]:
    """Layer tables int32 [255, 256] with table[0][0] != 0."""
    generator = torch.Generator().manual_seed(1)
    wide = torch.randint(-32768, 32768, (255, 256), generator=generator, dtype=torch.int32)
    weight, code = torch.arange(-127, 128)[:, None], torch.arange(256)
    rounded = weight.sign() * ((weight.abs() * code) // 8 * 8 + 4)
    return {"any table": wide, "15-bit rows": rounded.int()}


def low_rank_table(planes: int) -> torch.Tensor:
    """Layer table int32 [255, 256] of an array multiplier without the cells of its lowest planes - 1 columns."""
    weight, code = torch.arange(-127, 128)[:, None], torch.arange(256)
    columns = planes - 1
    left_out = sum((weight.abs() & 1 << i) * (code & (1 << columns - i) - 1) for i in range(columns))
    table = (weight * code - weight.sign() * left_out).int()
    factors = low_rank.prepare(table)
    assert factors is not None and factors.planes == planes
    return table


def operands(images: int, channels: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes u8 [N, H, W, C] and 3x3 weight indices int16 [C, 3, 3, C]."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(images, size, size, channels, generator=generator) * 40
    weights = torch.randn(channels, 3, 3, channels, generator=generator) * 36
    codes = (values.relu() + ZERO_POINT).clamp(0, 255).to(torch.uint8)
    return codes, (weights.round().clamp(-127, 127) + 127).to(torch.int16)


def cases() -> Iterator[tuple[str, torch.Tensor, tuple[float | None, float | None]]]:
    """(name, table, (goal for O >= 32, goal for O = 16)) of the kernels that layers are timed on."""
    isa = tvm_adapter.host_isa()
    for name, table in tables().items():
        yield f"{name}, {isa}", table, GOALS.get((isa, name == "15-bit rows"), AVX2_GOALS)
    dot = "+".join((isa, *tvm_adapter.host_features()))
    for planes, goal in LOW_RANK_GOALS.items():
        goals = (goal if low_rank.dot_bits() == 8 else None, None)
        yield f"exact low rank, {planes} plane{'s' * (planes > 1)}, {dot}", low_rank_table(planes), goals


def layer_rows(rounds: int, threads: int) -> Iterator[Row]:
    """Ratio to fp32 of every layer and table, on the current number of threads."""
    for layer, (images, channels, size) in LAYERS.items():
        codes, index = operands(images, channels, size)
        image = torch.randn(images, channels, size, size).to(memory_format=torch.channels_last)
        kernel = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last)
        for name, table, goals in cases():
            result = interleaved(
                partial(table_conv2d, codes, index, table, padding=(1, 1, 1, 1), pad_code=ZERO_POINT),
                partial(F.conv2d, image, kernel, padding=1),
                rounds,
            )
            yield at_most(
                f"{layer} 3x3, {name}, {threads} thread{'s' * (threads > 1)}",
                result.ratio,
                "x fp32",
                goals[channels == 16] if threads == 1 else None,
                f"torch F.conv2d fp32 channels_last {result.peer * 1e3:.2f} ms; ours {result.ours * 1e3:.2f} ms",
            )


def avx2_rows(rounds: int) -> Iterator[Row]:
    """What `layer_rows` gives on one thread where processor and fp32 peer stop at AVX2."""
    if tvm_adapter.host_isa() != "x86-64-v4":
        return
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    code = f"import json; from benchmarks.kernels import one_thread; print(json.dumps(one_thread({rounds})))"
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    yield from (Row(**row) for row in json.loads(found.stdout))


def one_thread(rounds: int) -> list[dict[str, Any]]:
    """`layer_rows` on one thread, as JSON."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        return [asdict(row) for row in layer_rows(rounds, 1)]


def thread_rows(rounds: int) -> Iterator[Row]:
    """How much faster two threads are than one."""
    if (os.cpu_count() or 1) < 2:
        return
    codes, index = operands(*LAYERS["ResNet-18 4x64x56x56"])
    table = tables()["any table"]

    def run(threads: int) -> None:
        torch.set_num_threads(threads)
        table_conv2d(codes, index, table, padding=(1, 1, 1, 1), pad_code=ZERO_POINT)

    before = torch.get_num_threads()
    result = interleaved(lambda: run(1), lambda: run(2), rounds)
    torch.set_num_threads(before)
    yield at_least("two threads, ResNet-18 4x64x56x56, any table", result.ratio, "x one thread", 1.7)


SMALL = {  # images, size, channels, outputs, kernel, groups
    "depthwise 16x64x16x16 3x3": (16, 16, 64, 64, 3, 64),
    "depthwise 1x256x14x14 3x3": (1, 14, 256, 256, 3, 256),
    "depthwise 16x256x14x14 5x5": (16, 14, 256, 256, 5, 256),
    "32 groups of 4 channels 4x128x28x28 3x3": (4, 28, 128, 128, 3, 32),
    "linear 1x512 -> 1000": (1, 1, 512, 1000, 1, 1),
    "linear 32x512 -> 1000": (32, 1, 512, 1000, 1, 1),
}


def small_rows(rounds: int) -> Iterator[Row]:
    """Layers that do not pay for row tables: few channels a group, few positions."""
    found = {"any table": tables()["any table"], "exact low rank, 1 plane": low_rank_table(1)}
    for case, name in product(SMALL, found):
        (images, size, channels, outputs, kernel, groups), table = SMALL[case], found[name]
        codes = torch.randint(0, 256, (images, size, size, channels), dtype=torch.uint8)
        index = torch.randint(0, 255, (outputs, kernel, kernel, channels // groups), dtype=torch.int16)
        image = torch.rand(images, channels, size, size).to(memory_format=torch.channels_last)
        weight, pad = torch.rand(outputs, channels // groups, kernel, kernel), kernel // 2
        shape = conv_geometry(codes, index, (1, 1), (pad,) * 4, (1, 1), groups)
        result = interleaved(
            partial(table_conv2d, codes, index, table, padding=(pad,) * 4, groups=groups, pad_code=ZERO_POINT),
            partial(F.linear, image.flatten(1), weight.flatten(1))
            if size == 1
            else partial(F.conv2d, image, weight, padding=pad, groups=groups),
            rounds,
        )
        peer = f"torch fp32 {result.peer * 1e3:.3f} ms; ours {result.ours * 1e3:.3f} ms"
        path = cheapest(table, shape)[0].name
        yield Row(f"{case}, {name} ({path}), 1 thread", result.ratio, "x fp32", peer=peer)


_FIRST_CALL = """
import time
import torch
from approx.kernels import table_matmul
codes = torch.zeros(4096, 64, dtype=torch.uint8)
index = torch.zeros(64, 64, dtype=torch.int16)
table = torch.randint(0, 60000, (255, 256), dtype=torch.int32)
start = time.perf_counter()
table_matmul(codes, index, table)
first = time.perf_counter() - start
start = time.perf_counter()
table_matmul(codes, index, table)
print(first - (time.perf_counter() - start))
"""


def start_rows() -> Iterator[Row]:
    """What the first call of a process costs more than the second, without and with the disk cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PICOJOULE_CACHE": folder}

        def first_call() -> float:
            output = subprocess.run(
                [sys.executable, "-c", _FIRST_CALL], env=environment, check=True, capture_output=True, text=True
            )
            return float(output.stdout)

        yield at_most("first use of a kernel: import TVM, compile, link", first_call(), "s", 2)
        yield at_most("first use in a second process, from the disk cache", first_call() * 1e3, "ms", 50)


def check() -> None:
    """Compares one image of every layer, on every path, with an fp64 convolution: the table is the exact product.

    Raises:
        AssertionError: a kernel is wrong, so its time means nothing.
    """
    table = low_rank_table(1)
    for layer, (_, channels, size) in LAYERS.items():
        codes, index = operands(1, channels, size)
        padded = F.pad(codes.permute(0, 3, 1, 2).double(), (1, 1, 1, 1), value=ZERO_POINT)
        expected = F.conv2d(padded, index.permute(0, 3, 1, 2).double() - 127).permute(0, 2, 3, 1).int()
        shape = conv_geometry(codes, index, (1, 1), (1, 1, 1, 1), (1, 1), 1)
        for path in PATHS:
            prepared = path.prepare(table)
            if prepared is not None:
                result = path.kernel.conv2d(codes, index, prepared, shape, ZERO_POINT)
                assert torch.equal(result, expected), f"{path.kernel.__name__}, {layer}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds a case instead of 31")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 31
    rows: list[Row] = []
    with torch.inference_mode():
        check()
        for threads in range(1, min(2, os.cpu_count() or 1) + 1):
            torch.set_num_threads(threads)
            rows += layer_rows(rounds, threads)
        torch.set_num_threads(1)
        rows += [*avx2_rows(rounds), *thread_rows(rounds), *small_rows(rounds)]
        rows += forward_rows(rounds)
    rows += [*training_rows(min(rounds, 7)), *memory_rows(), *start_rows()]
    publish("benchmarks.kernels", rows, arguments.json)


if __name__ == "__main__":
    main()
