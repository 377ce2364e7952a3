"""How a transposed convolution moves, as ordinary convolutions.

An output o of an axis is the sum over taps k of x[i] w[k] with i * stride + k * dilation - padding = o. Outputs o that
are equal modulo the stride meet inputs with the same taps: such a phase is an ordinary convolution of stride 1 (as in
sub-pixel convolution, Shi et al., arXiv 1609.07009). No product is spent on the zeros between inputs.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from approx.conv_geometry import ConvGeometry


@dataclass(frozen=True)
class Phase:
    """Outputs that are an ordinary convolution; each attribute holds one range an axis.

    Attributes:
        outputs: positions of the outputs.
        taps: of the weight, those that meet an input there; may be none.
        window: input positions they meet, first to last; may lie outside the input, which is padding.
    """

    outputs: tuple[range, ...]
    taps: tuple[range, ...]
    window: tuple[range, ...]


@dataclass(frozen=True)
class TransposedGeometry:
    """How a transposed convolution moves; everything but `groups` holds one number an axis, as in PyTorch."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def axes(self) -> int:
        """Spatial axes of the input."""
        return len(self.stride)

    @property
    def of_phase(self) -> ConvGeometry:
        """How the convolution of a phase moves over its window."""
        dilation = tuple(d // math.gcd(d, s) for d, s in zip(self.dilation, self.stride, strict=True))
        return ConvGeometry((1,) * self.axes, (0,) * 2 * self.axes, dilation, self.groups)

    def output_size(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Positions of the output on every axis."""
        return tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for n, s, p, d, k, extra in zip(
                size, self.stride, self.padding, self.dilation, kernel, self.output_padding, strict=True
            )
        )

    def phases(self, outputs: Sequence[int], kernel: Sequence[int]) -> Iterator[Phase]:
        """Every phase of an output of this size, for a weight with this kernel."""
        axes = [self._axis_phases(axis, *sizes) for axis, sizes in enumerate(zip(outputs, kernel, strict=True))]
        for parts in product(*axes):
            yield Phase(*zip(*parts, strict=True))

    def _axis_phases(self, axis: int, outputs: int, kernel: int) -> list[tuple[range, range, range]]:
        """Outputs, taps and window of every phase of one axis."""
        stride, padding, dilation = self.stride[axis], self.padding[axis], self.dilation[axis]
        found = []
        for first in range(min(stride, outputs)):
            places, window = range(first, outputs, stride), range(0)
            meet = [k for k in range(kernel) if (first + padding - k * dilation) % stride == 0]
            taps = range(meet[0], kernel, stride // math.gcd(stride, dilation)) if meet else range(0)
            if taps:
                start, end = ((first + padding - k * dilation) // stride for k in (taps[-1], taps[0]))
                window = range(start, end + len(places))
            found.append((places, taps, window))
        return found
