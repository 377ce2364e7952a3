"""Sums of products to reals on the output's grid, and where the clamp to that grid lets a gradient through.

A gradient passes where the code *before* clamping lies within the bounds, both included; values that are clamped
onto the first or last code block it, values that round there do not.
"""

from collections.abc import Callable

import torch

from approx.kernels import pointwise
from approx.operation import zero_of
from approx.parts import in_parts
from approx.quantizer import Quantizer
from approx.requantise import rescaled

Bounds = tuple[int, int]
Clamped = tuple[torch.Tensor, torch.Tensor | None]
"""Reals on a grid, and a bool mask of those that were not clamped, None where nobody asked for it."""


def requantised(
    sums: tuple[torch.Tensor, ...],
    addend: torch.Tensor,
    weight_zero: torch.Tensor,
    factor: tuple[torch.Tensor, torch.Tensor],
    grid: tuple[Quantizer, Bounds, torch.dtype],
    masked: bool = False,
) -> Clamped:
    """Sums of products to reals, as the device computes them.

    Args:
        sums: as of `accumulators`, contiguous; may be overwritten.
        addend, weight_zero: as of `accumulators`.
        factor: multiplier and shift, int64 [C] (`approx.requantise.fixed_point`).
        grid: quantizer of the output, codes between which it is clamped, type of the reals.
        masked: whether a mask is wanted.

    Returns:
        Reals and mask [..., C].
    """
    output, (low, high), dtype = grid
    zero, (first, *boxes) = zero_of(output), sums
    if dtype == torch.float32 and pointwise.usable(first):
        inside = torch.empty_like(first, dtype=torch.bool) if masked else None
        affine = (boxes[0], weight_zero) if boxes else None
        to = output.grid[0], zero, (low, high)
        return pointwise.requantise(first, addend, factor, to, affine, inside), inside

    def codes(*part: torch.Tensor) -> torch.Tensor:
        return rescaled(accumulators(part, addend, weight_zero), *factor, zero)

    def in_rows(step: Callable[..., torch.Tensor]) -> torch.Tensor:
        return in_parts(step, *(t.flatten(0, -2) for t in sums)).view(first.shape)

    values = in_rows(lambda *part: output.reals(codes(*part).clamp_(low, high), dtype))
    return values, in_rows(lambda *part: within(codes(*part), (low, high))) if masked else None


def accumulators(sums: tuple[torch.Tensor, ...], addend: torch.Tensor, weight_zero: torch.Tensor) -> torch.Tensor:
    """Accumulators int64 [..., C] of sums of products.

    Args:
        sums: of the products int32 [..., C]; with affine weights also of the codes of each group, int32 [..., G].
        addend: bias and zero-point terms, int64 [C].
        weight_zero: zero points of affine weights, int64 [C].
    """
    total = sums[0] + addend
    for box in sums[1:]:
        total -= (box.unsqueeze(-1) * weight_zero.view(box.shape[-1], -1)).flatten(-2)
    return total


def within(codes: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Mask of the codes, not clamped yet, that lie within the bounds."""
    return (codes >= bounds[0]) & (codes <= bounds[1])


def masked(gradient: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The gradient where the mask is set, 0 elsewhere; laid out as the mask, so that what follows needs no copies."""
    if pointwise.usable(gradient) and _dense(mask):
        if gradient.stride() != mask.stride():
            gradient = torch.empty_like(mask, dtype=gradient.dtype).copy_(gradient)
        return pointwise.masked(gradient, mask)
    return gradient.where(mask, 0.0)


def _dense(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
