"""`QuantConv`: a convolution of one to three spatial axes whose products come from a circuit's table."""

import torch
import torch.nn.functional as F

from approx.conv_geometry import ConvGeometry
from approx.layer import QuantLayer
from approx.linear_map import Gradients
from approx.operation import zero_of
from approx.quantizer import Quantizer
from approx.receptive_fields import receptive_fields
from approx.table_convolution import table_convolution

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class QuantConv(QuantLayer):
    """Convolution of [N, C, ...] with the weight [O, C / groups, ...]."""

    def __init__(
        self,
        label: str,
        source: Quantizer,
        output: Quantizer,
        parameters: tuple[torch.Tensor, torch.Tensor],
        geometry: ConvGeometry,
    ) -> None:
        super().__init__(label, source, output, parameters)
        self.geometry = geometry

    @property
    def groups(self) -> int:
        return self.geometry.groups

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        g, convolution = self.geometry, _CONVOLUTIONS[self.geometry.axes]
        return convolution(g.pad(x), weight, None, g.stride, g.symmetric_padding, g.dilation, g.groups)

    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return table_convolution(codes, index, table, self.geometry, zero_of(self.sources[0]))

    def receptive_fields(self, codes: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
        g, kernel = self.geometry, self.weight.shape[2:]
        images = torch.randint(len(codes), (count,), generator=random)
        seen = [
            (torch.randint(size, (count,), generator=random) * stride - before)[:, None] + torch.arange(taps) * dilation
            for size, stride, before, taps, dilation in zip(
                g.output_size(codes.shape[1:-1], kernel), g.stride, g.before, kernel, g.dilation, strict=True
            )
        ]
        return receptive_fields(codes, images, seen, g.groups, zero_of(self.sources[0]))

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool] = (True, True)
    ) -> Gradients:
        g = self.geometry
        moves = (g.stride, g.symmetric_padding, g.dilation, False, (0,) * g.axes, g.groups)
        into_x, into_weight, _ = torch.ops.aten.convolution_backward(
            grad, g.pad(x), weight, None, *moves, (*wanted, False)
        )
        return None if into_x is None else g.unpad(into_x, x), into_weight
