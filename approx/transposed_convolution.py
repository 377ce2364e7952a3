"""`QuantConvTranspose`: a transposed convolution of one to three spatial axes through a circuit's table.

The device multiplies only where a tap meets an input or the padding around it, which holds the zero point; the zeros
between inputs cost no product (`approx.transposed_geometry`).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from approx.kernels.geometry import check_accumulator
from approx.layer import QuantLayer
from approx.layer_integers import LayerIntegers
from approx.linear_map import Gradients
from approx.operation import zero_of
from approx.quantizer import Quantizer
from approx.receptive_fields import receptive_fields
from approx.table_convolution import pad_codes, table_convolution
from approx.transposed_geometry import TransposedGeometry

_CONVOLUTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def swap_channels(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """PyTorch's weight of a transposed convolution [I, O / groups, ...] <-> the layer's [O, I / groups, ...]."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


class QuantConvTranspose(QuantLayer):
    """Transposed convolution of [N, I, ...] with the weight [O, I / groups, ...].

    K is the whole kernel, of which an output sees the taps of its phase. To the integers of the layer the others are
    exact products of the zero point, so that one constant a channel holds for every phase.
    """

    def __init__(
        self,
        label: str,
        source: Quantizer,
        output: Quantizer,
        parameters: tuple[torch.Tensor, torch.Tensor],
        geometry: TransposedGeometry,
    ) -> None:
        super().__init__(label, source, output, parameters)
        self.geometry = geometry

    @property
    def groups(self) -> int:
        return self.geometry.groups

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        g, convolution = self.geometry, _CONVOLUTIONS[self.geometry.axes]
        theirs = swap_channels(weight, g.groups)
        return convolution(x, theirs, None, g.stride, g.padding, g.output_padding, g.groups, g.dilation)

    def sums(self, codes: torch.Tensor, numbers: LayerIntegers) -> tuple[torch.Tensor, ...]:
        sums, *boxes = super().sums(codes, numbers)
        zero = zero_of(self.sources[0])
        if torch.compiler.is_compiling() or zero:
            self._add_absent(sums, zero * numbers.values.int())
            for box in boxes:
                self._add_absent(box, zero * torch.ones_like(numbers.values[: self.groups], dtype=torch.int32))
        return sums, *boxes

    def _add_absent(self, sums: torch.Tensor, products: torch.Tensor) -> None:
        """Adds to sums [N, ..., O] what products [O, I / groups, ...] of the taps without an input amount to."""
        everything = products.flatten(1).sum(1)
        for phase in self.geometry.phases(sums.shape[1:-1], products.shape[2:]):
            present = products[_spatial(2, phase.taps)].flatten(1).sum(1)
            sums[_spatial(1, phase.outputs)] += (everything - present).int()

    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():  # of all taps, with those that `sums` adds
            check_accumulator(index, table.abs().clamp(min=255 * 255))
        g, pad_code = self.geometry, zero_of(self.sources[0])
        kernel, spatial = index.shape[2:], tuple(range(2, index.dim()))
        size = g.output_size(codes.shape[1:-1], kernel)
        sums = torch.empty(codes.shape[0], *size, len(index), dtype=torch.int32)
        for phase in g.phases(size, kernel):
            part: torch.Tensor | int = 0
            if all(phase.taps):
                taps = index[_spatial(2, phase.taps)].flip(spatial)
                part = table_convolution(_window(codes, phase.window, pad_code), taps, table, g.of_phase, pad_code)
            sums[_spatial(1, phase.outputs)] = part
        return sums

    def receptive_fields(self, codes: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
        """As for any layer; taps between inputs hold the zero point too, though no circuit multiplies there."""
        g, kernel = self.geometry, self.weight.shape[2:]
        images = torch.randint(codes.shape[0], (count,), generator=random)
        seen = []
        for axis, size in enumerate(g.output_size(codes.shape[1:-1], kernel)):
            outputs = torch.randint(size, (count,), generator=random)[:, None]
            reach = outputs + g.padding[axis] - torch.arange(kernel[axis]) * g.dilation[axis]
            seen.append(torch.where(reach % g.stride[axis] == 0, reach // g.stride[axis], -1))
        return receptive_fields(codes, images, seen, g.groups, zero_of(self.sources[0]))

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool] = (True, True)
    ) -> Gradients:
        g = self.geometry
        moves = (g.stride, g.padding, g.dilation, True, g.output_padding, g.groups)
        into_x, into_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, swap_channels(weight, g.groups), None, *moves, (*wanted, False)
        )
        return into_x, None if into_weight is None else swap_channels(into_weight, g.groups)

    def multiplications(self, response: torch.Tensor) -> int:
        """As for any layer; only taps that meet an input or padding multiply."""
        phases = self.geometry.phases(response.shape[2:], self.weight.shape[2:])
        met = sum(math.prod(map(len, (*phase.outputs, *phase.taps))) for phase in phases)
        return len(response) * met * self.weight.shape[0] * self.weight.shape[1]

    def position_sums(self, grad: torch.Tensor) -> torch.Tensor:
        rows, kernel = self.channels_last(grad), self.weight.shape[2:]
        sums = grad.new_zeros(len(self.weight), 1, *kernel)
        for phase in self.geometry.phases(rows.shape[1:-1], kernel):
            total = rows[_spatial(1, phase.outputs)].flatten(0, -2).sum(0)
            sums[_spatial(2, phase.taps)] = total.view(-1, *[1] * (len(kernel) + 1))
        return sums


def _spatial(first: int, ranges: Sequence[range]) -> tuple[slice, ...]:
    """Index of ranges on the axes from the `first` on, all of the axes before."""
    return (slice(None),) * first + tuple(slice(r.start, r.stop, r.step) for r in ranges)


def _window(codes: torch.Tensor, window: Sequence[range], pad_code: int) -> torch.Tensor:
    """The input positions of a window, uint8 [N, ..., C]; those outside the input hold `pad_code`."""
    part = codes[_spatial(1, [range(max(w.start, 0), max(w.stop, 0)) for w in window])]
    before = [min(max(-w.start, 0), len(w)) for w in window]
    after = [len(w) - b - n for w, b, n in zip(window, before, part.shape[1:-1], strict=True)]
    return pad_codes(part, before, after, pad_code)
