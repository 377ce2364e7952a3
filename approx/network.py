"""`QuantisedNetwork`: the user's network as a graph of quantised operations, run in three arithmetics."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import fx, nn

from approx.assignment import Assignment
from approx.layer import EXACT, QuantLayer
from approx.operands import Operands, layer_table
from approx.operation import Arithmetic, Operation
from approx.quantizer import Quantizer
from multipliers import Multiplier


class QuantisedNetwork(nn.Module):
    """A calibrated 8-bit network, layer by layer exact or approximate.

    Attributes:
        graph_module: torch.fx graph whose every call is an `Operation`.
        quantizers: every activation's quantizer, by the label of the operation that writes it.
        input_shape: (C, H, W) or (F,).
    """

    def __init__(
        self, graph_module: fx.GraphModule, quantizers: Mapping[str, Quantizer], input_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.graph_module = graph_module
        self.quantizers = nn.ModuleDict({f"q_{label.replace('.', '/')}": q for label, q in quantizers.items()})
        self.input_shape = input_shape

    def operations(self) -> Iterator[Operation]:
        """Every operation in execution order."""
        for node in self.graph_module.graph.nodes:
            if node.op == "call_module":
                operation = self.graph_module.get_submodule(node.target)
                assert isinstance(operation, Operation)
                yield operation

    def layers(self) -> dict[str, QuantLayer]:
        """Layers with weights by their name in the user's model, in execution order."""
        return {op.label: op for op in self.operations() if isinstance(op, QuantLayer)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [N, C, H, W] -> outputs [N, F].

        Raises:
            ValueError: the image size is not the one the network was captured with.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ValueError(
                f"the network takes inputs of shape {('N', *self.input_shape)}, got {tuple(x.shape)}; "
                "resize or crop them"
            )
        x = x.to(torch.float32)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.graph_module(x)

    def use(self, arithmetic: Arithmetic) -> "QuantisedNetwork":
        """Switch every operation to an arithmetic; returns self."""
        for operation in self.operations():
            operation.arithmetic = arithmetic
        return self

    @contextmanager
    def using(self, arithmetic: Arithmetic) -> Iterator["QuantisedNetwork"]:
        """Switch for the length of a block."""
        before = [(op, op.arithmetic) for op in self.operations()]
        self.use(arithmetic)
        try:
            yield self
        finally:
            for operation, previous in before:
                operation.arithmetic = previous

    def calibrate(self, batches: Iterable[torch.Tensor]) -> "QuantisedNetwork":
        """Set every activation's scale from batches [N, C, H, W]; returns self, in INTEGER arithmetic.

        Raises:
            ValueError: no batch came, or one held NaN or infinity.
        """
        seen = 0
        operations = list(self.operations())
        for operation in operations:
            operation.observing = True
        try:
            with torch.no_grad(), self.using(Arithmetic.FLOAT):
                for batch in batches:
                    seen += len(batch)
                    self(batch)
        finally:
            for operation in operations:
                operation.observing = False
        if not seen:
            raise ValueError("calibration needs at least one batch; the loader yielded nothing")
        for quantizer in self.quantizers.values():
            assert isinstance(quantizer, Quantizer)
            quantizer.calibrate()
        return self.use(Arithmetic.INTEGER)

    def assign(self, assignment: Assignment, library: Mapping[str, Multiplier]) -> "QuantisedNetwork":
        """Give layers their circuits, all others the exact product; returns self.

        Raises:
            ValueError: the assignment names a layer or a multiplier that does not exist, or one that does not fit.
        """
        layers = self.layers()
        chosen = assignment.circuits(layers, library)
        tables = {
            name: layer_table(circuit, choice.operands, choice.swap) for name, (circuit, choice) in chosen.items()
        }
        for name, layer in layers.items():
            if name in chosen:
                circuit, choice = chosen[name]
                layer.use_circuit(circuit.name, choice.operands, tables[name])
            else:
                layer.use_circuit(EXACT, Operands.SIGN_MAGNITUDE, None)
        return self
