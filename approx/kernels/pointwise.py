"""Compiled steps between the sums of products: codes of reals, requantisation, the sum of two activations.

They take tensors as they lie in memory (`pointwise_script.py` says what each step computes), and only where
`usable` says so: elsewhere the caller's own torch operations give the same numbers, more slowly.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import tvm_adapter
from . import pointwise_script
from .compiled import compiled, kernel_problem
from .parallel import run_parallel
from .pointwise_script import PointwiseClass, pointwise_kernel

_SCRIPT = Path(pointwise_script.__file__)
_PART = 1 << 17  # elements of one kernel call, where there are threads to share them
Grid = tuple[float, int, tuple[int, int]]
"""Scale, zero point and (lowest, highest) code of a quantizer."""


def usable(*tensors: torch.Tensor) -> bool:
    """Whether compiled steps can take these tensors: eager float32 or int32 on a CPU, and TVM at hand."""
    return (
        not torch.compiler.is_compiling()
        and all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.int32) for t in tensors)
        and kernel_problem() is None
    )


def dense(values: torch.Tensor) -> torch.Tensor:
    """The values without gaps in memory, channels last where there are height and width."""
    return values.contiguous(memory_format=torch.channels_last if values.dim() == 4 else torch.contiguous_format)


def codes(values: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Codes uint8 of float32 reals, any contiguous shape: clamp(round(values / scale) + zero)."""
    out = torch.empty(values.shape, dtype=torch.uint8)
    scale, zero, bounds = grid
    _run("codes", values.numel(), 1, values.view(-1), out.view(-1), scale, float(zero), *map(float, bounds))
    return out


def requantise(
    sums: torch.Tensor,
    addend: torch.Tensor,
    factor: tuple[torch.Tensor, torch.Tensor],
    grid: Grid,
    affine: tuple[torch.Tensor, torch.Tensor] | None = None,
    inside: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sums of products to reals on the output's grid, in the memory of the sums.

    Args:
        sums: int32 [..., C], contiguous; overwritten.
        addend: int64 [C], added first.
        factor: multiplier and shift, int64 [C] (`approx.requantise.fixed_point`).
        grid: of the output.
        affine: sums of the codes int32 [..., G] and zero points of the weights int64 [C], whose product is taken off.
        inside: bool, as the sums; receives where the code lay within the grid's bounds before it was clamped.

    Returns:
        float32 [..., C].
    """
    channels = sums.shape[-1]
    multiplier, shift = factor
    scale, zero, (low, high) = grid
    vectors = [addend, multiplier, torch.ones_like(shift) << (shift - 1), shift]
    step, suffix = "requantise", "" if inside is None else "_inside"
    shape: tuple[int, ...] = (-1, channels)
    if affine is not None:
        box, weight_zero = affine
        groups = box.shape[-1]
        step, shape = "requantise_affine", (-1, groups, channels // groups)
        vectors = [box.view(-1, groups), *(v.view(groups, -1) for v in (weight_zero, *vectors))]
    rows, mask = sums.view(shape), None if inside is None else inside.view(torch.uint8).view(shape)
    _run(step + suffix, len(rows), channels, rows, mask, *vectors, scale, zero, low, high)
    return sums.view(torch.float32)


def add(
    terms: tuple[torch.Tensor, torch.Tensor],
    grids: tuple[Grid, Grid],
    factors: tuple[tuple[int, ...], int],
    grid: Grid,
    inside: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum of two activations as reals on the output's grid.

    Args:
        terms: float32 reals on their grids, of one shape, dense and laid out alike.
        grids: theirs.
        factors: multipliers of the terms and their shift (`approx.requantise.fixed_point_sum`).
        grid: of the output.
        inside: bool, laid out as the terms; receives where the code lay within the grid's bounds before it was clamped.
    """
    left, right = terms
    out = torch.empty_like(left)
    multipliers, shift = factors
    sides = [
        number
        for (scale, zero, bounds), multiplier in zip(grids, multipliers, strict=True)
        for number in (scale, float(zero), *map(float, bounds), multiplier)
    ]
    scale, zero, bounds = grid
    step, mask = ("add", None) if inside is None else ("add_inside", _flat(inside.view(torch.uint8)))
    _run(step, left.numel(), 1, *map(_flat, (left, right, out)), mask, *sides, shift, scale, zero, *bounds)
    return out


def reals(codes: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Reals float32 of contiguous codes uint8: scale * (code - zero)."""
    out = torch.empty(codes.shape, dtype=torch.float32)
    _run("reals", codes.numel(), 1, codes.view(-1), out.view(-1), *grid[:2])
    return out


def lookup(values: torch.Tensor, table: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Entries of a table float32 [256] at the codes of dense float32 reals, laid out as these."""
    out = torch.empty_like(values)
    scale, zero, bounds = grid
    numbers = scale, float(zero), *map(float, bounds)
    _run("lookup", values.numel(), 1, _flat(values), table, _flat(out), *numbers)
    return out


def masked(gradient: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """A float32 gradient where a mask is set, 0 elsewhere; both dense and laid out alike."""
    out = torch.empty_like(gradient)
    _run("masked", gradient.numel(), 1, _flat(gradient), _flat(where.view(torch.uint8)), _flat(out))
    return out


def _flat(dense: torch.Tensor) -> torch.Tensor:
    return dense.as_strided((dense.numel(),), (1,), dense.storage_offset())


def _run(step: str, rows: int, width: int, *operands: Any) -> None:
    """Runs a step on all rows, in parts on as many threads as torch uses."""
    if not rows:
        return
    size = rows if torch.get_num_threads() == 1 else max(1, _PART // width)
    kernel = PointwiseClass(tvm_adapter.host_isa(), step)
    function = compiled(kernel, kernel.name, kernel.isa, pointwise_kernel, _SCRIPT)
    run_parallel([partial(function, *operands, first, min(first + size, rows)) for first in range(0, rows, size)])
