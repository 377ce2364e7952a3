"""Exact convolution of a table's factors in torch's own floating-point convolutions: no compiler, any processor.

    table[w, x] = f[w] + g[x] + Σ_q scale[q] v[q, w] u[q, x] = table[w, pad] + (g[x] - g[pad]) + ...

Every term but the first vanishes where x is the padding code, so that the zeros a convolution pads with are exact;
the first is one constant an output channel. A plane is a convolution of u[q, x] - u[q, pad] with v[q, w]; g is one
with weights of 1. Floating-point sums of integers are exact in any order while Σ |u v| stays below 2^24 (float32) or
2^53 (float64).
"""

from collections.abc import Iterator
from contextlib import ExitStack

import torch
import torch.nn.functional as F

from .analysis import analyse
from .factorisation import Factorisation
from .geometry import ConvGeometry

_SHORT = 256  # factors up to this are exact even where float32 products may be rounded to bfloat16 or TF32
_SINGLE, _DOUBLE = 2**24, 2**53  # sums below are exact


def prepare(table: torch.Tensor) -> Factorisation | None:
    """The exact factorisation of an int32 [n_w, 256] table; None where none was found."""
    return analyse(table).factorisation


def conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, factors: Factorisation, shape: ConvGeometry, pad_code: int
) -> torch.Tensor:
    """Convolution of checked arguments (see `dispatch.table_conv2d`).

    Args:
        codes: uint8 [N, H, W, C].
        weight_index: int16 or int32 [O, kh, kw, C/groups].
        factors: the table's exact factorisation.
        shape: the convolution's sizes; fan-in at least 1.
        pad_code: code at padding positions.

    Returns:
        Sums, int32 [N, Ho, Wo, O].

    Raises:
        ValueError: a sum is too large even for float64.
    """
    index = weight_index.permute(0, 3, 1, 2).long()
    with ExitStack() as stack:
        stack.enter_context(torch.autocast("cpu", enabled=False))  # would compute in bfloat16
        stack.enter_context(torch.backends.nnpack.flags(enabled=False))  # may choose Winograd or FFT, which round
        constant = _padding_products(factors, pad_code)[index].sum(dim=(1, 2, 3)).to(torch.int32)
        out = constant.expand(shape.batch, shape.out_height, shape.out_width, -1)
        for scale, v, u in _planes(factors, pad_code):
            sums = _plane(codes, v[index], u, shape).permute(0, 2, 3, 1)
            out = torch.add(out, _wrapped(sums), alpha=scale)
    return out.contiguous()


def _padding_products(factors: Factorisation, pad_code: int) -> torch.Tensor:
    """Products of every weight with the padding code, int64 [n_w]."""
    scaled = factors.scale.long() * factors.u[:, pad_code].long()
    return factors.f.long() + factors.g[pad_code].long() + scaled @ factors.v.long()


def _planes(factors: Factorisation, pad_code: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """(scale, v [n_w], u int64 [256]) of every term of the sum but the constant one; u is 0 at the padding code."""
    for scale, v, u in zip(factors.scale.tolist(), factors.v, factors.u.long(), strict=True):
        yield scale, v, u - u[pad_code]
    g = factors.g.long() - factors.g[pad_code].long()
    if g.any():
        yield 1, torch.ones_like(factors.f), g


def _plane(codes: torch.Tensor, weight: torch.Tensor, u: torch.Tensor, shape: ConvGeometry) -> torch.Tensor:
    """Convolution of u[codes] with integer weights [O, C/groups, kh, kw], float [N, O, Ho, Wo]."""
    dtype = _exact_type(weight, u)
    steps = u - u[0]
    if torch.equal(steps, torch.arange(256)):
        mapped = codes.to(dtype) + int(u[0])
    else:
        mapped = u.to(dtype).index_select(0, codes.flatten().int()).view(codes.shape)
    top, left, bottom, right = shape.padding
    image, kernel = mapped.permute(0, 3, 1, 2), weight.to(dtype)
    if (top, left) != (bottom, right):
        image, top, left = F.pad(image, (left, right, top, bottom)), 0, 0
    # oneDNN of torch 2.13 is wrong for one input channel, one output column and a horizontal step beyond 1
    stride = (shape.stride[0], 1 if shape.out_width == 1 else shape.stride[1])
    sums = F.conv2d(image, kernel, None, stride, (top, left), shape.dilation, shape.groups)
    return sums[..., : shape.out_width]


def _exact_type(weight: torch.Tensor, u: torch.Tensor) -> torch.dtype:
    """The shortest type in which no sum rounds.

    Raises:
        ValueError: there is none.
    """
    size, weights = int(u.abs().max()), weight.flatten(1).long().abs()
    largest = size * int(weights.sum(dim=1).max())
    if max(size, int(weights.max())) <= _SHORT and largest < _SINGLE:
        return torch.float32
    if largest < _DOUBLE:
        return torch.float64
    raise ValueError(f"expected sums of a factor plane below 2^53, got a bound of {largest}; use the reference")


def _wrapped(sums: torch.Tensor) -> torch.Tensor:
    """Integers in floating point as int32, modulo 2^32."""
    return (sums if sums.dtype == torch.float32 else sums.long()).to(torch.int32)
