"""Rows of `benchmarks.kernels` about a whole network: forward, training step, memory, against torch fp32.

The network is ResNet-20 for CIFAR-10 with random weights, batch 128, in channels_last like its fp32 peer, which runs
batch normalisation and ReLU as PyTorch does without a compiler. Circuits are the 8-bit multipliers of EvoApproxLib
lite where its files are at hand, else those of the default library.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from approx import Assignment, Choice, Operands, QuantisedNetwork, quantise
from benchmarks._report import Ratio, Row, at_most, interleaved
from multipliers import Library, Multiplier, default_library
from multipliers.importers import import_circuits
from picojoule.models import make_model

EVOAPPROX = Path(__file__).resolve().parents[2] / "shared" / "data" / "multipliers"
BATCH = 128


def circuits() -> tuple[str, list[Multiplier]]:
    """Name of the set and its inexact 8x8 circuits."""
    if EVOAPPROX.is_dir():
        name, library = "EvoApproxLib lite", import_circuits(EVOAPPROX).library
    else:
        name, library = "default library", default_library()
    wide = [m for m in library.values() if (m.width_a, m.width_b) == (8, 8)]
    return name, wide


def network() -> QuantisedNetwork:
    """ResNet-20 calibrated on noise."""
    torch.manual_seed(0)
    return quantise(make_model("resnet20").eval(), [torch.randn(32, 3, 32, 32)])


def use(quantised: QuantisedNetwork, circuit: Multiplier) -> None:
    """Every layer multiplies with the circuit."""
    operands = Operands.SIGNED if circuit.signed else Operands.SIGN_MAGNITUDE
    quantised.assign(Assignment({"*": Choice(circuit.name, operands)}), Library([circuit]))


def forward_rows(rounds: int) -> Iterator[Row]:
    """Forward pass with each of a set of circuits: median, fastest and slowest."""
    name, found = circuits()
    quantised, peer = network(), _peer().eval()
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    chosen = found if rounds > 3 else found[:: len(found) // 5]
    with torch.inference_mode():
        exact = interleaved(lambda: quantised(images), lambda: peer(images), rounds)
        yield Row(
            "ResNet-20 forward, batch 128, exact 8-bit products, 1 thread", exact.ratio, "x fp32", peer=_ms(exact)
        )
        results: dict[str, Ratio] = {}
        for circuit in chosen:
            use(quantised, circuit)
            results[circuit.name] = interleaved(lambda: quantised(images), lambda: peer(images), min(rounds, 5))
    ranked = sorted(results, key=lambda n: results[n].ratio)
    title = f"ResNet-20 forward, batch 128, {len(ranked)} circuits of {name}, 1 thread"
    median = statistics.median(r.ratio for r in results.values())
    middle = ranked[len(ranked) // 2]
    yield at_most(f"{title}: median", median, "x fp32", 1.6, f"{middle}: {_ms(results[middle])}")
    for which, circuit_name in (("fastest", ranked[0]), ("slowest", ranked[-1])):
        ratio = results[circuit_name]
        yield Row(f"{title}: {which}", ratio.ratio, "x fp32", peer=f"{circuit_name}: {_ms(ratio)}")


def training_rows(rounds: int) -> Iterator[Row]:
    """Training step, bit-exact forward and gradients along lines, against an fp32 step with batch normalisation."""
    name, found = circuits()
    quantised = network()
    chosen = {m.name: m for m in found}
    ours = quantised.train()
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    peer = _step(_peer().train(), images)
    ratios: dict[str, Ratio] = {}
    for circuit in list(chosen.values())[:: 1 + len(chosen) // (7 if rounds > 3 else 2)]:
        use(quantised, circuit)
        ratios[circuit.name] = interleaved(_step(ours, images), peer, rounds)
    median = statistics.median(r.ratio for r in ratios.values())
    middle = min(ratios, key=lambda n: abs(ratios[n].ratio - median))
    title = f"ResNet-20 training step, batch 128, {len(ratios)} circuits of {name}, 1 thread: median"
    yield at_most(title, median, "x fp32 step", 1.3, f"{middle}: {_ms(ratios[middle])}")


def _step(module: torch.nn.Module, images: torch.Tensor) -> Callable[[], None]:
    labels = torch.randint(0, 10, (len(images),), generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(module.parameters(), 1e-4, momentum=0.9)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(module(images), labels).backward()
        optimiser.step()

    return run


def _peer() -> torch.nn.Module:
    return make_model("resnet20").to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _ms(ratio: Ratio) -> str:
    return f"torch fp32 {ratio.peer * 1e3:.1f} ms; ours {ratio.ours * 1e3:.1f} ms"


def memory_rows() -> Iterator[Row]:
    """Peak memory of a layer above what it starts with: kernels against torch's convolution, a process each; Linux."""
    if not Path("/proc/self/clear_refs").exists():
        return
    for case, shape in (("ResNet-20 128x16x32x32", "128 16 32"), ("ResNet-18 16x256x14x14", "16 256 14")):
        for table in ("any", "low rank"):
            ours, peer = (_peak(kind, shape) for kind in (table, "float"))
            about = (
                f"torch F.conv2d fp32 {peer / 2**20:.1f} MiB; ours {ours / 2**20:.1f} MiB, input and output included"
            )
            yield at_most(f"peak memory, {case} 3x3, {table}", ours / peer, "x fp32", 1.5, about)


def _peak(kind: str, shape: str) -> int:
    command = [sys.executable, "-m", "benchmarks._kernel_networks", kind, *shape.split()]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Prints the peak memory of one layer in bytes, above that of the same call on a tiny image."""
    kind, (images, channels, size) = sys.argv[1], map(int, sys.argv[2:])
    torch.set_num_threads(1)
    run_layer(kind, 1, channels, 4)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status_kib("VmRSS")
    run_layer(kind, images, channels, size)
    print((_status_kib("VmHWM") - before) * 1024)


def _status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def run_layer(kind: str, images: int, channels: int, size: int) -> None:
    """One 3x3 convolution: "float", "any" table or "low rank" table."""
    from approx.kernels import table_conv2d

    if kind == "float":
        image, kernel = (
            torch.empty(shape, memory_format=torch.channels_last).uniform_()
            for shape in ((images, channels, size, size), (channels, channels, 3, 3))
        )
        F.conv2d(image, kernel, padding=1)
        return
    weight, code = torch.arange(-127, 128)[:, None], torch.arange(256)
    table = (weight * code + (weight * code * 37 % 91 if kind == "any" else 0)).int()
    codes = torch.randint(0, 256, (images, size, size, channels), dtype=torch.uint8)
    index = torch.randint(0, 255, (channels, 3, 3, channels), dtype=torch.int16)
    table_conv2d(codes, index, table, padding=(1, 1, 1, 1), pad_code=3)


if __name__ == "__main__":
    main()
