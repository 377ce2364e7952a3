"""Table convolutions of one, two and three spatial axes, all by the two-dimensional kernels.

One axis is an image of height one. Of three axes the depth is folded away: the depth positions that an output sees
stand beside one another as channels, so that one call sums over the whole receptive field (and checks its bound).
"""

from collections.abc import Sequence

import torch

from approx.conv_geometry import ConvGeometry
from approx.kernels import ops


def table_convolution(
    codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor, geometry: ConvGeometry, pad_code: int
) -> torch.Tensor:
    """Convolution in which a table multiplies.

    Args:
        codes: activation codes, uint8 [N, ..., C], channels last, contiguous, one to three axes between.
        index: rows of the table, int16 or int32 [O, C / groups, ...], shaped as PyTorch's weight.
        table: products, int32 [n_w, 256].
        geometry: of as many axes.
        pad_code: code that padding positions hold, the input's zero point.

    Returns:
        Sums, int32 [N, ..., O].

    Raises:
        ValueError: as `ops.table_conv2d`.
    """
    size = geometry.output_size(codes.shape[1:-1], index.shape[2:])
    shape = codes.shape[0], *size, len(index)
    weight, g = index.movedim(1, -1), geometry
    if g.axes == 1:
        codes, weight, g = codes[:, None], weight[:, None], _with_height(g)
    elif g.axes == 3:
        codes, weight, g = *_depth_as_channels(codes, weight, g, pad_code), _without_depth(g)
    moves = g.stride, g.padding, g.dilation, g.groups
    return ops.table_conv2d(codes, weight.contiguous(), table, *moves, pad_code).view(shape)


def _with_height(g: ConvGeometry) -> ConvGeometry:
    return ConvGeometry((1, *g.stride), (0, *g.before, 0, *g.after), (1, *g.dilation), g.groups)


def _without_depth(g: ConvGeometry) -> ConvGeometry:
    return ConvGeometry(g.stride[1:], (*g.before[1:], *g.after[1:]), g.dilation[1:], g.groups)


def _depth_as_channels(
    codes: torch.Tensor, weight: torch.Tensor, g: ConvGeometry, pad_code: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [N, D, H, W, C] -> [N * Do, H, W, kd * C], weight [O, kd, kh, kw, C/g] -> [O, kh, kw, kd * C/g].

    Within a group the depth taps come first, then its channels.
    """
    codes = pad_codes(codes, (g.before[0], 0, 0), (g.after[0], 0, 0), pad_code)
    reach = g.dilation[0] * (weight.shape[1] - 1) + 1
    seen = codes.unfold(1, reach, g.stride[0])[..., :: g.dilation[0]]  # [N, Do, H, W, C, kd]
    seen = seen.unflatten(4, (g.groups, -1)).transpose(5, 6)  # [N, Do, H, W, groups, kd, C/g]
    return seen.flatten(0, 1).flatten(3).contiguous(), weight.movedim(1, 3).flatten(3)


def pad_codes(codes: torch.Tensor, before: Sequence[int], after: Sequence[int], pad_code: int) -> torch.Tensor:
    """Codes uint8 [N, ..., C] with `pad_code` before and behind every axis between, contiguous."""
    if not any((*before, *after)):
        return codes.contiguous()
    size = [b + n + a for b, n, a in zip(before, codes.shape[1:-1], after, strict=True)]
    padded = codes.new_full((codes.shape[0], *size, codes.shape[-1]), pad_code)
    padded[:, *(slice(b, b + n) for b, n in zip(before, codes.shape[1:-1], strict=True))] = codes
    return padded
