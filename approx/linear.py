"""`QuantLinear`: a matrix product whose products come from a circuit's table."""

import torch
import torch.nn.functional as F

from approx.kernels import ops
from approx.layer import QuantLayer
from approx.linear_map import Gradients


class QuantLinear(QuantLayer):
    """Matrix product of [N, ..., F] with the weight [O, F]."""

    channel_axis = -1

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weight)

    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        sums = ops.table_matmul(codes.flatten(0, -2), index, table)
        return sums.view(*codes.shape[:-1], len(index))

    def receptive_fields(self, codes: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
        rows = codes.flatten(0, -2)
        return rows[torch.randint(len(rows), (count,), generator=random)][None]

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool] = (True, True)
    ) -> Gradients:
        into_weight = grad.flatten(0, -2).T @ x.flatten(0, -2) if wanted[1] else None
        return grad @ weight if wanted[0] else None, into_weight
