"""The integers of a layer with weights: what lies between input codes and output codes."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LayerIntegers:
    """The integers of a layer as the device holds them.

    Attributes:
        values: int16, shaped as the weight.
        weight_zero: int64 [O].
        weight_scale: float64 [O].
        scale: float64 [O], real size of one accumulator step, gain included.
        bias: int64 [O], quantised bias without the zero-point terms.
        constant: int64 [O], the zero-point terms -z_x sum(w) + K z_x z_w.
        multiplier, shift: int64 [O].
        zero_point, bounds: of the output codes.
    """

    values: torch.Tensor
    weight_zero: torch.Tensor
    weight_scale: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    constant: torch.Tensor
    multiplier: torch.Tensor
    shift: torch.Tensor
    zero_point: int
    bounds: tuple[int, int]
