"""What convolutions see at chosen outputs, as rows of codes."""

from collections.abc import Sequence

import torch


def receptive_fields(
    codes: torch.Tensor, images: torch.Tensor, seen: Sequence[torch.Tensor], groups: int, pad_code: int
) -> torch.Tensor:
    """Receptive fields of some outputs, K in the order of the flattened weight.

    Args:
        codes: uint8 [N, ..., C].
        images: int64 [S], the image of each output.
        seen: for every axis int64 [S, taps], the input positions under the taps; those outside hold `pad_code`.
        groups: independent parts of the channels.
        pad_code: the input's zero point.

    Returns:
        uint8 [groups, S, K].
    """
    count, axes = len(images), len(seen)
    places, inside = [images.view(count, *[1] * axes)], torch.ones(1, dtype=torch.bool)
    for axis, positions in enumerate(seen):
        spread = positions.view(count, *[-1 if a == axis else 1 for a in range(axes)])
        size = codes.shape[axis + 1]
        inside = inside & (spread >= 0) & (spread < size)
        places.append(spread.clamp(0, size - 1))
    fields = codes[tuple(places)].masked_fill(~inside[..., None], pad_code)  # [S, taps..., C]
    return fields.unflatten(-1, (groups, -1)).movedim((-2, -1), (0, 2)).flatten(2)
