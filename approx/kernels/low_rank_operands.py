"""Lays out what the low-rank kernel multiplies: packed weights, mapped and padded codes, sums of f and g."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from math import ceil
from pathlib import Path

import torch

from . import layout, low_rank_operands_script
from .compiled import compiled
from .factorisation import Factorisation
from .geometry import ConvGeometry, pad_codes
from .low_rank_operands_script import OperandClass, operand_kernel
from .low_rank_script import Dot
from .parallel import run_parallel

_SCRIPT = Path(low_rank_operands_script.__file__)


def parts(size: int, largest: int | None = None) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) that cover 0..size, none above `largest`, enough of them to keep every thread busy."""
    threads = torch.get_num_threads()
    wanted = 4 * threads if threads > 1 else 1
    step = max(1, min(ceil(size / wanted), largest or size))
    return ((first, min(first + step, size)) for first in range(0, size, step))


@dataclass(frozen=True)
class Operands:
    """Operands of one convolution for one dot product.

    Attributes:
        shape: the convolution's sizes.
        isa: instruction set with features.
        dot: its dot product.
    """

    shape: ConvGeometry
    isa: str
    dot: Dot

    @property
    def registers(self) -> int:
        """Registers that hold the output channels of one group."""
        return ceil(self.shape.group_outputs / self.dot.lanes)

    @property
    def words(self) -> int:
        """Words of a receptive field; each of its runs of adjacent codes starts a new one."""
        run = layout.run_length(self.shape)
        return self.shape.fan_in // run * ceil(run / self.dot.group)

    def stored(self, factors: Factorisation) -> tuple[torch.Tensor, torch.Tensor]:
        """f int32 [n_w] and u uint8 [R, 256] as the kernels take them: signed codes are u - 128, f makes up for it."""
        if not self.dot.signed:
            return factors.f, factors.u
        return factors.f + 128 * (factors.scale[:, None] * factors.v).sum(dim=0, dtype=torch.int32), factors.u ^ 128

    def weights(self, index: torch.Tensor, v: torch.Tensor, f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors v of the weights, int32 [registers, R, words, lanes], and their sums of f, int32 [registers * lanes].

        Padding, of runs to words and of output channels to registers, is zero.
        """
        shape = self.shape
        runs = index.reshape(shape.outputs, -1, layout.run_length(shape)).to(torch.int32)
        registers = shape.groups * self.registers
        weight = torch.zeros(registers, len(v), self.words, self.dot.lanes, dtype=torch.int32)
        start = torch.zeros(registers * self.dot.lanes, dtype=torch.int32)
        call = partial(self._kernel("weights"), runs, v, f, weight, start, shape.group_outputs, self.registers)
        run_parallel([partial(call, *part) for part in parts(shape.outputs)])
        return weight, start

    def codes(self, codes: torch.Tensor, u: torch.Tensor, pad_code: int) -> torch.Tensor:
        """Factors u of the padded codes, one row a plane, with room for a kernel to read beyond the last."""
        shape = self.shape
        rows, width = len(codes) * shape.padded_height, shape.padded_width * shape.channels
        code_type = torch.uint8 if self.dot.group == 4 else torch.int16
        mapped = torch.empty(len(u), rows * width + layout.READ_AHEAD, dtype=code_type)
        top, left = shape.padding[0], shape.padding[1] * shape.channels
        place = shape.height, shape.padded_height, top, left, width, pad_code
        call = partial(self._kernel("codes"), codes.view(len(codes) * shape.height, -1), u, mapped, *place)
        run_parallel([partial(call, *part) for part in parts(rows)])
        return mapped

    def position_start(self, codes: torch.Tensor, g: torch.Tensor, pad_code: int) -> torch.Tensor:
        """Sums of g over the receptive field of each position, int32 [positions, groups]: channels, rows, columns."""
        shape = self.shape
        if not g.any():
            return torch.zeros(len(codes) * shape.out_height * shape.out_width, shape.groups, dtype=torch.int32)
        sums = torch.empty(*codes.shape[:3], shape.groups, dtype=torch.int32)
        call = partial(self._kernel("code_sums"), codes.view(-1, shape.group_channels), g, sums.view(-1))
        run_parallel([partial(call, *part) for part in parts(sums.numel())])
        sums = pad_codes(sums, shape.padding, int(g[pad_code] * shape.group_channels))
        for axis, size in ((1, shape.out_height), (2, shape.out_width)):
            stride, dilation, taps = shape.stride[axis - 1], shape.dilation[axis - 1], shape.kernel[axis - 1]
            near = (sums.narrow(axis, tap * dilation, (size - 1) * stride + 1) for tap in range(taps))
            sums = reduce(torch.add, near)
            sums = sums[:, ::stride] if axis == 1 else sums[:, :, ::stride]
        return sums.reshape(-1, shape.groups).contiguous()  # a view where steps leave a single column

    def _kernel(self, part: str) -> Callable[..., None]:
        kernel = OperandClass(self.isa, part, self.dot.lanes, self.dot.group)
        return compiled(kernel, kernel.name, kernel.isa, operand_kernel, _SCRIPT)
