"""`QuantLayerNorm`: layer normalisation in integers.

With D features of a row, codes c and the input's scale s, everything but the codes cancels:

    u = D c - Σ c              D times the centred codes; the zero point is gone
    W = Σ u² / D + D² eps / s²  D² times the variance
    r = floor(sqrt(2^2f W))    f fraction bits
    n = u floor(2^56 / r)      the normalised row, in units of 2^-12 after a shift
    y = n gamma + beta         13-bit gamma, then requantised
"""

import torch
import torch.nn.functional as F
from torch import nn

from approx.kernels import ops
from approx.operation import Operation, zero_of
from approx.quantizer import Quantizer
from approx.requantise import requantise

LARGEST = 1 << 13  # features; what fits 64 bits above
_FRACTION, _GAMMA_MAX, _BETA_MAX = 12, (1 << 13) - 1, 1 << 30
_RECIPROCAL_BITS = 56
_EPS_MAX = 2.0**30  # eps in squared code steps; above, a row of any codes is flat


class QuantLayerNorm(Operation):
    """Normalisation of the last axis to mean 0 and variance 1, then gamma and beta.

    Attributes:
        weight, bias: gamma and beta, float [D].
        eps: added to the variance.
    """

    def __init__(
        self,
        label: str,
        source: Quantizer,
        output: Quantizer,
        parameters: tuple[torch.Tensor, torch.Tensor],
        eps: float,
    ) -> None:
        super().__init__(label, (source,), output)
        self.weight, self.bias = (nn.Parameter(p.detach().clone()) for p in parameters)
        self.eps = eps
        if len(self.weight) > LARGEST:
            raise ValueError(f"layer {label!r} normalises {len(self.weight)} features, expected at most {LARGEST}")

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(inputs[0], self.weight.shape, self.weight, self.bias, self.eps)

    def affine(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """gamma and beta as integers int64 [D], and the real size of one step of their sum, float64 scalar."""
        gamma, beta = self.weight.detach().double(), self.bias.detach().double() * 2.0**_FRACTION
        step = torch.maximum(gamma.abs().max() / _GAMMA_MAX, beta.abs().max() / _BETA_MAX).clamp(min=1e-12)
        return torch.round(gamma / step).long(), torch.round(beta / step).long(), step * 2.0**-_FRACTION

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        gamma, beta, step = self.affine()
        multiplier, shift = ops.fixed_point(step / self.output.scale)
        source = self.sources[0]
        eps = (self.eps / source.scale**2).clamp(max=_EPS_MAX)

        def codes(x: torch.Tensor) -> torch.Tensor:
            total = normalised(source.codes(x).to(torch.int64), eps) * gamma + beta
            return requantise(total, multiplier, shift, zero_of(self.output), self.bounds)

        return self.straight_through(inputs, codes)


def normalised(codes: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """Rows of codes, int64 [..., D], as normalised integers in units of 2^-12.

    Args:
        codes: 0..255.
        eps: float64 scalar, in squared code steps, at most 2^30.
    """
    features = codes.shape[-1]
    fraction = 16 - (features - 1).bit_length()
    centred = features * codes - codes.sum(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) // features
    variance = (variance + torch.round(features**2 * eps).to(torch.int64)).clamp(min=1)
    reciprocal = (1 << _RECIPROCAL_BITS) // square_root(variance << (2 * fraction))
    shift = _RECIPROCAL_BITS - fraction - _FRACTION
    return (centred * reciprocal + (1 << (shift - 1))) >> shift


def square_root(values: torch.Tensor) -> torch.Tensor:
    """floor(sqrt(values)) of int64 below 2^62."""
    root = values.double().sqrt().to(torch.int64)
    root -= (root.square() > values).to(torch.int64)
    return root + ((root + 1).square() <= values).to(torch.int64)
