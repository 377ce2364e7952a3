"""Visits what multiplies in a network, in execution order, each with all its input, before it runs."""

from collections.abc import Callable
from typing import cast

import torch
from torch import fx

from approx.multiplying import Multiplying
from approx.network import QuantisedNetwork
from approx.operation import Arithmetic, Operation

CHUNK = 64

Visit = Callable[..., None]
"""Called with a layer and its input, or a matrix product and both its activations."""


class Visitor(fx.Interpreter):
    """Runs a network a few images at a time, but layer after layer: a visit may change the layer it is shown."""

    def __init__(self, network: QuantisedNetwork, visit: Visit) -> None:
        super().__init__(network.graph_module)
        self.network, self.visit = network, visit

    def pass_over(self, images: torch.Tensor) -> None:
        """One pass in INTEGER arithmetic over images [N, C, H, W].

        Raises:
            ValueError: there is no image, or their size is not the one the network was captured with.
        """
        if not len(images) or tuple(images.shape[1:]) != self.network.input_shape:
            raise ValueError(
                f"expected at least one image, of shape {('N', *self.network.input_shape)}, got {tuple(images.shape)}"
            )
        with torch.no_grad(), self.network.using(Arithmetic.INTEGER):
            self.run(images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images)

    def call_module(self, target: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        operation, inputs = cast(Operation, self.submodules[str(target)]), cast(tuple[torch.Tensor, ...], args)
        if isinstance(operation, Multiplying):
            self.visit(operation, *inputs)
        if not operation.row_by_row:
            return operation(*inputs)
        parts = zip(*(x.split(CHUNK) for x in inputs), strict=True)
        return torch.cat([operation(*part) for part in parts])
