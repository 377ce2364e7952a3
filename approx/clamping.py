"""Where a clamped result lets its gradient through: the mask that integer operations keep for their backward pass."""

import torch

from approx.kernels import pointwise
from approx.quantizer import Quantizer


def inside(values: torch.Tensor, output: Quantizer, bounds: tuple[int, int]) -> torch.Tensor:
    """Mask, bool, of values on the output's grid whose codes lie strictly between two bounds."""
    low, high = output.reals(torch.tensor(bounds), values.dtype)
    if pointwise.usable(values) and _dense(values):
        return pointwise.inside(values, low.item(), high.item())
    return (values > low) & (values < high)


def masked(gradient: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The gradient where the mask is set, 0 elsewhere; laid out as the mask, so that what follows needs no copies."""
    if pointwise.usable(gradient) and _dense(mask):
        if gradient.stride() != mask.stride():
            gradient = torch.empty_like(mask, dtype=gradient.dtype).copy_(gradient)
        return pointwise.masked(gradient, mask)
    return gradient.where(mask, 0.0)


def _dense(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
