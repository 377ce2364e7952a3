"""`LinearMap`: which products of inputs and weights are summed into which output, whatever makes the products."""

from abc import abstractmethod

import torch
from torch import nn

from approx.multiplying import Multiplying

Gradients = tuple[torch.Tensor | None, torch.Tensor | None]


class LinearMap(Multiplying):
    """The shapes of a layer with weights. Abstract.

    Attributes:
        weight: float [O, ...].
    """

    channel_axis = 1
    weight: nn.Parameter

    @property
    def fan_in(self) -> int:
        """Products summed into one output."""
        return int(self.weight[0].numel())

    def multiplications(self, response: torch.Tensor) -> int:
        """Products of a response [N, O, ...], padding positions included."""
        return response.numel() * self.fan_in

    def position_sums(self, grad: torch.Tensor) -> torch.Tensor:
        """A gradient [N, O, ...] summed over the outputs where each weight multiplies; broadcasts to the weight."""
        return self.channels_last(grad).flatten(0, -2).sum(0).view(-1, *[1] * (self.weight.dim() - 1))

    @property
    def groups(self) -> int:
        """Independent parts of the channels."""
        return 1

    @abstractmethod
    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Exact products summed: the convolution or matrix product, without bias."""

    @abstractmethod
    def table_product(self, codes: torch.Tensor, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Table products summed: codes uint8 [N, ..., C], index like the weight -> int32 [N, ..., O]."""

    @abstractmethod
    def receptive_fields(self, codes: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
        """What the circuit sees for random outputs: codes uint8 [N, ..., C] -> uint8 [groups, count, K].

        Padding positions hold the zero point; K in the order of the flattened weight.
        """

    @abstractmethod
    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool] = (True, True)
    ) -> Gradients:
        """Gradients of `product` for x and weight, None where not wanted."""
