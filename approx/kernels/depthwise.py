"""Low-rank convolution of depthwise layers: channels side by side, one multiplication a product and plane.

A dot product has nothing to add up there: every output channel sees one input channel. Its taps are added one by one
instead, for a register of channels at a time, in the layout the codes have anyway.
"""

from collections.abc import Iterator
from functools import partial
from math import ceil
from pathlib import Path

import torch

from . import depthwise_script, layout
from .compiled import compiled
from .depthwise_script import POSITIONS, DepthwiseClass, depthwise_kernel
from .factorisation import Factorisation
from .geometry import ConvGeometry
from .low_rank_operands import Operands, parts
from .parallel import Task, run_parallel

_SCRIPT = Path(depthwise_script.__file__)


def serves(shape: ConvGeometry) -> bool:
    """Whether a layer is depthwise, one output channel for every input channel."""
    return shape.group_channels == 1 == shape.group_outputs


def conv2d(
    codes: torch.Tensor, weight_index: torch.Tensor, factors: Factorisation, operands: Operands, pad_code: int
) -> torch.Tensor:
    """Convolution of checked arguments, as `low_rank.conv2d`.

    Args:
        codes: uint8 [N, H, W, C].
        weight_index: int16 or int32 [C, kh, kw, 1].
        factors: the table's exact factorisation, at least one plane.
        operands: lays out the codes and the sums of g; its shape is depthwise.
        pad_code: code at padding positions.

    Returns:
        Sums, int32 [N, Ho, Wo, C].

    Raises:
        ValueError: a single image is too large for 32-bit addresses.
        ImportError: TVM cannot be used.
    """
    shape = operands.shape
    index = weight_index.view(shape.outputs, -1).T.int().flatten()  # [K * C]
    weight = factors.v.int().index_select(1, index).view(-1, shape.fan_in, shape.outputs)
    channel_start = factors.f.index_select(0, index).view(weight.shape[1:]).sum(dim=0).to(torch.int32)
    tap = torch.tensor(layout.tap_offsets(shape, 1, 1), dtype=torch.int32)
    out = torch.empty(shape.batch, shape.out_height, shape.out_width, shape.outputs, dtype=torch.int32)
    for first, images in layout.image_chunks(shape, factors.planes * (4 // operands.dot.group)):
        chunk = codes[first : first + images]
        start = torch.zeros(1, shape.outputs, dtype=torch.int32)
        if factors.g.any():
            start = operands.position_start(chunk, factors.g, pad_code)
        mapped, position = operands.codes(chunk, factors.u, pad_code), layout.positions(shape, images)
        part = out[first : first + images].view(-1, shape.outputs)
        run_parallel(_tasks(operands, (mapped, position, tap, weight, factors.scale, channel_start, start, part)))
    return out


def _tasks(operands: Operands, tensors: tuple[torch.Tensor, ...]) -> Iterator[Task]:
    """Kernel calls of all blocks of positions, each with workspaces of its own."""
    mapped, position, *_, start, _ = tensors
    lanes = min(operands.dot.lanes, 2 ** (operands.shape.channels.bit_length() - 1))
    kernel = DepthwiseClass(operands.isa, lanes, str(mapped.dtype).removeprefix("torch."))
    function = compiled(kernel, kernel.name, kernel.isa, depthwise_kernel, _SCRIPT)
    step = 1 if len(start) == len(position) else 0
    for part in parts(ceil(len(position) / POSITIONS)):
        workspaces = torch.empty(2, POSITIONS * lanes, dtype=torch.int32)
        yield partial(function, *tensors, *workspaces, step, *part)
