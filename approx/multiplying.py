"""`Multiplying`: an operation whose products a circuit makes."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch

from approx.layer_circuit import EXACT, LayerCircuit
from approx.operands import LayerTable, Operands
from approx.operation import Operation
from approx.quantizer import Quantizer


class Multiplying(Operation):
    """Layers with weights, and matrix products of activations. Abstract.

    Attributes:
        layer_circuit: what makes its products.
        exact_operands: coding of the second operand where products are exact.
        channel_axis: of its real inputs and output.
        gain: float64 [C], free correction of the circuit's mean slope by channel; folded into requantisation.
        bias: float [C], added to the response.
        perturb: called on the real response, before the bias, in FAKE arithmetic only.
    """

    exact_operands = Operands.SIGN_MAGNITUDE
    channel_axis = -1
    gain: torch.Tensor
    bias: torch.Tensor

    def __init__(self, label: str, sources: Sequence[Quantizer], output: Quantizer) -> None:
        super().__init__(label, sources, output)
        self.perturb: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.use_exact()

    def use_circuit(self, circuit: str, operands: Operands, table: LayerTable | None) -> None:
        """Make products with this table (None: exactly), the second operand coded as `operands`."""
        self.layer_circuit = LayerCircuit.of_layer(circuit, operands, table)

    def use_exact(self) -> None:
        """Make products exactly."""
        self.use_circuit(EXACT, self.exact_operands, None)

    @property
    def circuit(self) -> str:
        """Name of the circuit."""
        return self.layer_circuit.name

    @property
    def operands(self) -> Operands:
        """Coding of the second operand."""
        return self.layer_circuit.operands

    @property
    def table(self) -> LayerTable | None:
        """The circuit's table, None for exact products."""
        return None if self.layer_circuit.exact else self.layer_circuit.table

    @abstractmethod
    def response(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Real output before the bias in INTEGER arithmetic, not rounded, for correction and error studies."""

    def by_channel(self, values: torch.Tensor) -> torch.Tensor:
        """Values shaped as the output, [N, ...] -> [N, positions, C]."""
        return self.channels_last(values).reshape(len(values), -1, len(self.gain))

    def per_channel(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Values [C] in the shape that multiplies or adds to each channel of `like`."""
        return values.view([-1 if d == self.channel_axis % like.dim() else 1 for d in range(like.dim())])

    def channels_last(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, H, W, C]; a matrix product's [N, ..., F] stays."""
        return x.movedim(self.channel_axis, -1)

    def channels_first(self, x: torch.Tensor) -> torch.Tensor:
        """[N, H, W, C] -> [N, C, H, W]; a matrix product's [N, ..., F] stays."""
        return x.movedim(-1, self.channel_axis)
