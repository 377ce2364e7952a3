"""Shape of a convolution kernel and how its loops are tiled; hashable, so equal layers share a kernel."""

from dataclasses import dataclass

from deploy.program import Conv2d, TensorSpec


@dataclass(frozen=True)
class Tiling:
    """Register tile of a convolution: `lanes` output channels by `positions` output columns.

    Chosen per instruction set so that the accumulators stay in registers.
    """

    lanes: int
    positions: int


@dataclass(frozen=True)
class ConvShape:
    """Static shape of a convolution over [batch, H, W, C]."""

    batch: int
    source: tuple[int, int, int]
    result: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int

    @classmethod
    def of(cls, layer: Conv2d, source: TensorSpec, result: TensorSpec, batch: int) -> "ConvShape":
        """The shape of a program's convolution."""
        _, rows, columns, _ = layer.weights.values.shape
        (height, width, channels), (out_height, out_width, out_channels) = source.shape, result.shape
        return cls(
            batch,
            (height, width, channels),
            (out_height, out_width, out_channels),
            (rows, columns),
            layer.stride,
            layer.dilation,
            layer.padding,
            layer.groups,
        )

    @property
    def group_inputs(self) -> int:
        """Input channels of one group."""
        return self.source[2] // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of one group."""
        return self.result[2] // self.groups

    @property
    def depthwise(self) -> bool:
        """One input and one output channel per group."""
        return self.group_inputs == 1 and self.group_outputs == 1


def largest_divisor(value: int, limit: int) -> int:
    """Largest divisor of `value` that is at most `limit`."""
    return next(step for step in range(min(value, limit), 0, -1) if value % step == 0)
