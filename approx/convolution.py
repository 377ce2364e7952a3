"""`QuantConv2d`: a convolution whose products come from a circuit's table."""

import torch
import torch.nn.functional as F

from approx.conv_geometry import ConvGeometry
from approx.kernels import ops
from approx.kernels.geometry import pad_codes
from approx.layer import Gradients, QuantLayer
from approx.operation import zero_of
from approx.quantizer import Quantizer


class QuantConv2d(QuantLayer):
    """Convolution. `padding` is (top, left, bottom, right)."""

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
        g = self.geometry
        return F.conv2d(g.pad(x), weight, None, g.stride, g.symmetric_padding, g.dilation, g.groups)

    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        g, last = self.geometry, index.permute(0, 2, 3, 1).contiguous()
        pad_code = zero_of(self.sources[0])
        return ops.table_conv2d(codes, last, table, g.stride, g.padding, g.dilation, g.groups, pad_code)

    def receptive_fields(self, codes: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
        g, kernel = self.geometry, self.weight.shape[2:]
        images = torch.randint(len(codes), (count,), generator=random)[:, None, None]
        padded = pad_codes(codes, g.padding, zero_of(self.sources[0]))
        reach = [d * (k - 1) + 1 for d, k in zip(g.dilation, kernel, strict=True)]
        grid = [(p - r) // s + 1 for p, r, s in zip(padded.shape[1:3], reach, g.stride, strict=True)]
        rows, columns = (
            (torch.randint(size, (count,), generator=random) * stride)[:, None] + torch.arange(taps) * dilation
            for size, stride, taps, dilation in zip(grid, g.stride, kernel, g.dilation, strict=True)
        )
        fields = padded[images, rows[:, :, None], columns[:, None, :]]  # [count, kh, kw, C]
        return fields.unflatten(3, (g.groups, -1)).permute(3, 0, 4, 1, 2).flatten(2)

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool] = (True, True)
    ) -> Gradients:
        g = self.geometry
        moves = (g.stride, g.symmetric_padding, g.dilation, False, (0, 0), g.groups)
        into_x, into_weight, _ = torch.ops.aten.convolution_backward(
            grad, g.pad(x), weight, None, *moves, (*wanted, False)
        )
        return None if into_x is None else g.unpad(into_x, x), into_weight
