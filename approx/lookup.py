"""`QuantLookup`: any function of one value, as a table of 256 codes."""

from collections.abc import Callable

import torch

from approx.kernels import pointwise
from approx.operation import Operation
from approx.parts import in_parts
from approx.quantizer import Quantizer


class QuantLookup(Operation):
    """An activation function (GELU, sigmoid, ...) or arithmetic with a constant.

    The table is computed in double precision and rounded once, so every machine has the same.

    Attributes:
        function: element by element, of any float type.
    """

    def __init__(
        self, label: str, source: Quantizer, output: Quantizer, function: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__(label, (source,), output)
        self.function = function

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(inputs[0])

    def table(self) -> torch.Tensor:
        """Output codes int64 [256] of the source's codes."""
        reals = self.sources[0].reals(torch.arange(256), torch.float64)
        return self.output.codes(self.activate(self.function(reals))).to(torch.int64)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            source, reals, x = self.sources[0], self.output.reals(self.table()), inputs[0]
            if pointwise.usable(x, reals):
                values = pointwise.lookup(pointwise.dense(x), reals, source.grid)
            else:
                values = in_parts(lambda part: reals[source.codes(part).to(torch.int64)], x)
        return self.with_real_gradient(inputs, values)
