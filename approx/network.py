"""`QuantisedNetwork`: the user's network as a graph of quantised operations, run in three arithmetics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import fx, nn

from approx.assignment import Assignment
from approx.choice import Choice, LayerChoice
from approx.layer import QuantLayer
from approx.layer_circuit import Gradient
from approx.multiplying import Multiplying
from approx.operands import layer_table
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

    def steps(self) -> Iterator[Operation]:
        """Every operation in execution order, each followed by those it is made of."""
        for operation in self.operations():
            yield from operation.steps()

    def layers(self) -> dict[str, QuantLayer]:
        """Layers with weights by their name in the user's model, in execution order."""
        return {step.label: step for step in self.steps() if isinstance(step, QuantLayer)}

    def multiplying(self) -> dict[str, Multiplying]:
        """Everything that multiplies with a circuit: layers with weights, and matrix products of activations."""
        return {step.label: step for step in self.steps() if isinstance(step, Multiplying)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [N, C, H, W] -> outputs [N, F].

        Raises:
            ValueError: the image size is not the one the network was captured with, or, in eager INTEGER arithmetic,
                images hold NaN or infinity.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ValueError(
                f"the network takes inputs of shape {('N', *self.input_shape)}, got {tuple(x.shape)}; "
                "resize or crop them"
            )
        layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
        return self.graph_module(x.to(torch.float32).contiguous(memory_format=layout))

    def use(self, arithmetic: Arithmetic) -> "QuantisedNetwork":
        """Switch every operation to an arithmetic; returns self."""
        for step in self.steps():
            step.arithmetic = arithmetic
        return self

    @contextmanager
    def using(self, arithmetic: Arithmetic) -> Iterator["QuantisedNetwork"]:
        """Switch for the length of a block."""
        before = [(step, step.arithmetic) for step in self.steps()]
        self.use(arithmetic)
        try:
            yield self
        finally:
            for step, previous in before:
                step.arithmetic = previous

    def calibrate(self, batches: Iterable[torch.Tensor], resolution: int = 8) -> "QuantisedNetwork":
        """Set every activation's scale from batches [N, C, H, W]; returns self, in INTEGER arithmetic.

        Args:
            batches: at least one.
            resolution: bits, 2..8, that the circuits to come tell apart. Below 8 ranges are narrower: large activations
                are clipped and the rest comes in larger codes, of which a rough circuit sees more. Codes keep their
                width.

        Raises:
            ValueError: no batch came, one held NaN or infinity, or the resolution is out of range.
        """
        if not 2 <= resolution <= 8:
            raise ValueError(f"expected a resolution of 2..8 bits, got {resolution!r}")
        seen = 0
        steps = list(self.steps())
        for step in steps:
            step.observing = True
        try:
            with torch.no_grad(), self.using(Arithmetic.FLOAT):
                for batch in batches:
                    seen += len(batch)
                    self(batch)
        finally:
            for step in steps:
                step.observing = False
        if not seen:
            raise ValueError("calibration needs at least one batch; the loader yielded nothing")
        for quantizer in self.quantizers.values():
            assert isinstance(quantizer, Quantizer)
            quantizer.calibrate(resolution)
        return self.use(Arithmetic.INTEGER)

    def use_bits(self, bits: int | Mapping[str, int]) -> "QuantisedNetwork":
        """Set the width of activations; those that change have to be calibrated after it; returns self.

        Args:
            bits: 2..8 for all, or by label pattern of the operation that writes the activation (`quantizers`), longer
                patterns first; 8 where none fits. The network's output keeps its 16 bits.

        Raises:
            ValueError: a width is not 2..8, or a pattern fits no activation.
            TypeError: bits is neither.
        """
        if not isinstance(bits, int | Mapping):
            raise TypeError(f"bits: expected a whole number 2..8, or one for each pattern of labels, got {bits!r}")
        wanted = {"*": bits} if isinstance(bits, int) else dict(bits)
        steps = [step for step in self.steps() if not step.moves_only and step.output.bits <= 8]
        labels = [step.label for step in steps]
        widths = dict.fromkeys(labels, 8)
        for pattern, width in sorted(wanted.items(), key=lambda item: len(item[0])):
            hits = [label for label in labels if fnmatchcase(label, pattern)]
            if not 2 <= width <= 8 or not hits:
                raise ValueError(
                    f"bits {{{pattern!r}: {width}}}: expected 2..8 bits for some of the activations {labels[:5]}..., "
                    f"{len(hits)} of {len(labels)} fit the pattern"
                )
            widths.update(dict.fromkeys(hits, width))
        for step in steps:
            step.output.use_bits(widths[step.label])
        return self

    def use_gradient(self, gradient: Gradient) -> "QuantisedNetwork":
        """Choose the gradient of every layer with weights, see `QuantLayer.use_gradient`; returns self.

        Raises:
            ValueError: another gradient than those; or differences where a layer has several circuits.
        """
        for layer in self.layers().values():
            layer.use_gradient(gradient)
        return self

    def assign(self, assignment: Assignment, library: Mapping[str, Multiplier]) -> "QuantisedNetwork":
        """Give layers and matrix products their circuits, all others the exact product; returns self.

        Raises:
            ValueError: the assignment names a layer or a multiplier that does not exist, or one that does not fit, or
                not one for each of a layer's output channels; the network stays as it was.
        """
        steps = self.multiplying()
        chosen = assignment.circuits(steps, library)
        before = {name: step.layer_circuit for name, step in steps.items()}
        try:
            for name, step in steps.items():
                if name in chosen:
                    _use(step, *chosen[name])
                else:
                    step.use_exact()
        except ValueError:
            for name, step in steps.items():
                step.layer_circuit = before[name]
            raise
        return self


def _use(step: Multiplying, circuits: Sequence[Multiplier], choice: LayerChoice) -> None:
    tables = {circuit.name: layer_table(circuit, choice.operands, choice.swap) for circuit in circuits}
    if isinstance(choice, Choice):
        step.use_circuit(circuits[0].name, choice.operands, tables[circuits[0].name])
    elif isinstance(step, QuantLayer):
        step.use_circuits(tables, choice.operands, [circuit.name for circuit in circuits])
    else:
        raise ValueError(f"{step.label!r} is a matrix product, it takes one circuit, not one for each output channel")
    bits, widest = step.sources[0].bits, step.layer_circuit.table.code_bits
    if bits > widest:
        raise ValueError(
            f"layer {step.label!r} reads {bits}-bit activations, multiplier {step.circuit!r} takes {widest}; "
            f"quantise the network with bits={widest}, or choose a circuit of {bits} bits"
        )
