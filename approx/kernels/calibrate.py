"""Measures every path on this machine, so that the choice between them fits it."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from .cost_factors import factors_file, save_cost_factors
from .dispatch import PATHS, Path
from .geometry import ConvGeometry, conv_geometry

ROUNDS = 5
_SHAPES = (  # images, size, channels, outputs, kernel, groups
    (8, 16, 32, 32, 3, 1),
    (16, 8, 64, 64, 3, 1),
    (2, 28, 16, 16, 3, 1),
    (2, 14, 64, 64, 1, 1),
    (4, 16, 32, 32, 3, 32),
    (64, 1, 256, 128, 1, 1),
    (1, 1, 256, 128, 1, 1),
)
MEASUREMENTS = len(PATHS) * len(_SHAPES)


@dataclass(frozen=True)
class PathTime:
    """What one path takes here.

    Attributes:
        path: its name.
        factor: measured over predicted time, the middle one of the layers it was measured on.
        layers: how many those were.
    """

    path: str
    factor: float
    layers: int


def calibrate(progress: Callable[[str], object] | None = None) -> list[PathTime]:
    """Measures all paths that can serve this machine, and keeps the factors for this and later processes.

    Args:
        progress: called with the path's name after each of `MEASUREMENTS` measurements.

    Raises:
        OSError: the kernel cache cannot be written.
    """
    try:
        factors_file().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot keep what is measured ({error}); set PICOJOULE_CACHE to a writable folder") from error
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    ratios: dict[str, list[float]] = {}
    try:
        for path, ratio in _measured():
            if ratio is not None:
                ratios.setdefault(path.name, []).append(ratio)
            if progress is not None:
                progress(path.name)
    finally:
        torch.set_num_threads(before)
    found = [PathTime(name, statistics.median(seen), len(seen)) for name, seen in ratios.items()]
    save_cost_factors({each.path: each.factor for each in found})
    return found


def _measured() -> Iterator[tuple[Path, float | None]]:
    """Every path on every shape with measured over predicted time; None where it does not serve."""
    generator = torch.Generator().manual_seed(0)
    any_table = torch.randint(0, 60_000, (255, 256), generator=generator, dtype=torch.int32)
    product = (torch.arange(-127, 128)[:, None] * torch.arange(256)).int()
    for path in PATHS:
        table = any_table if path.prepare(any_table) is not None else product
        prepared = path.prepare(table)
        for images, size, channels, outputs, kernel, groups in _SHAPES:
            codes = torch.randint(0, 256, (images, size, size, channels), generator=generator, dtype=torch.uint8)
            taps = outputs, kernel, kernel, channels // groups
            index = torch.randint(0, 255, taps, generator=generator, dtype=torch.int16)
            shape = conv_geometry(codes, index, (1, 1), (kernel // 2,) * 4, (1, 1), groups)
            expected = math.inf if prepared is None else path.nanoseconds(shape, prepared)
            if math.isinf(expected):
                yield path, None
            else:
                yield path, _nanoseconds(path, (codes, index, prepared, shape, 0)) / expected


def _nanoseconds(path: Path, arguments: tuple[torch.Tensor, torch.Tensor, object, ConvGeometry, int]) -> float:
    times = []
    for _ in range(1 + ROUNDS):  # the first one compiles
        start = time.perf_counter_ns()
        path.kernel.conv2d(*arguments)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times[1:])
