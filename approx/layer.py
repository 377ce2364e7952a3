"""`QuantLayer`: a layer whose products come from a circuit's table.

The integer forward is what the device computes, entry for entry of the table; its gradient is in `approx.backward`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from approx.backward import IntegerLayer
from approx.clamping import Clamped, accumulators, requantised
from approx.kernels import ops
from approx.layer_circuit import Gradient, LayerCircuit
from approx.layer_integers import LayerIntegers
from approx.linear_map import LinearMap
from approx.operands import LayerTable, Operands
from approx.operation import Arithmetic, zero_of
from approx.quantizer import Quantizer, quantise_weight

LARGEST_BIAS = 2.0**27
_CODES = torch.arange(256, dtype=torch.int32)[None]  # a table whose products are the codes themselves


class QuantLayer(LinearMap):
    """A layer with weights. Abstract; see `approx.convolution` and `approx.linear`.

    Attributes:
        weight: float [O, ...], batch normalisation folded.
        bias: float [O].
        gradient: of INTEGER arithmetic, see `use_gradient`.
    """

    gradient: Gradient = "line"
    bias: nn.Parameter

    def __init__(
        self, label: str, source: Quantizer, output: Quantizer, parameters: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        super().__init__(label, (source,), output)
        weight, bias = parameters
        self.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
        self.bias = nn.Parameter(bias.detach().clone())
        self.register_buffer("gain", torch.ones(len(weight), dtype=torch.float64))

    def use_circuit(self, circuit: str, operands: Operands, table: LayerTable | None) -> None:
        """Make products with this table (None: exactly), the weights coded as `operands`."""
        with self._named():
            self.layer_circuit = LayerCircuit.of_layer(circuit, operands, table).with_gradient(self.gradient)

    def use_circuits(self, circuits: Mapping[str, LayerTable], operands: Operands, of_channel: Sequence[str]) -> None:
        """Make products with a circuit of its own in every output channel, see `LayerCircuit.of_channels`.

        Raises:
            ValueError: a name has no table, not O names, different widths, or training by table differences is on.
        """
        with self._named():
            if len(of_channel) != len(self.weight):
                raise ValueError(
                    f"expected the name of a circuit for each of {len(self.weight)} output channels, "
                    f"got {len(of_channel)} names"
                )
            made = LayerCircuit.of_channels(circuits, operands, of_channel)
            self.layer_circuit = made.with_gradient(self.gradient)

    @property
    def mixed(self) -> bool:
        """Whether output channels have circuits of their own (`use_circuits`)."""
        return self.layer_circuit.mixed

    def use_gradient(self, gradient: Gradient) -> None:
        """Train with another gradient of the products.

        Args:
            gradient: "line" (the default), "straight" or 0..125, see `LayerCircuit.with_gradient`.

        Raises:
            ValueError: another gradient; or differences where output channels have circuits of their own.
        """
        with self._named():
            self.layer_circuit = self.layer_circuit.with_gradient(gradient)
            self.gradient = gradient

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors that say which layer it is."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"layer {self.label!r}: {error}") from error

    def integers(self) -> LayerIntegers:
        """Everything between input codes and output codes, as integers.

        Raises:
            ValueError: the network is not calibrated, or its activations are wider than the circuit's operand.
        """
        source, output, widest = self.sources[0], self.output, self.layer_circuit.table.code_bits
        if not torch.compiler.is_compiling() and not (source.calibrated and output.calibrated):
            raise ValueError(f"layer {self.label!r} is not calibrated; call calibrate(network, loader) first")
        if source.bits > widest:
            raise ValueError(
                f"layer {self.label!r} reads activations of {source.bits} bits, multiplier {self.circuit!r} takes "
                f"{widest}; quantise the network with bits={widest}"
            )
        values, scale, zero = self._quantised_weight()
        step = self.gain * source.scale * scale
        multiplier, shift = ops.fixed_point(step / output.scale)
        zero_point, total = zero_of(source), values.flatten(1).sum(1, dtype=torch.int64)
        return LayerIntegers(
            values=values,
            weight_zero=zero,
            weight_scale=scale,
            scale=step,
            bias=torch.round(self.bias.detach().double() / step).to(torch.int64),
            constant=-zero_point * total + self.fan_in * zero_point * zero,
            multiplier=multiplier,
            shift=shift,
            zero_point=zero_of(output),
            bounds=self.bounds,
        )

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        if self.arithmetic is Arithmetic.FLOAT:
            response = self.product(inputs[0], self.weight)
        else:
            gain = self.gain.to(self.weight.dtype).view(-1, *[1] * (self.weight.dim() - 1))
            response = self.product(inputs[0], self._rounded(*self._quantised_weight()) * gain)
        if self.perturb is not None and self.arithmetic is Arithmetic.FAKE:
            response = self.perturb(response)
        return response + self.per_channel(self.bias, response)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        numbers = self.integers()
        if not torch.is_grad_enabled():
            return self.reals(self.codes(inputs[0]), numbers, inputs[0].dtype)[0]
        weight = self._rounded(numbers.values, numbers.weight_scale, numbers.weight_zero)
        result: torch.Tensor = IntegerLayer.apply(inputs[0], weight, self.bias, self, numbers)
        return result

    def response(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,), numbers = inputs, self.integers()
        accumulator = self.accumulate(x, numbers) - numbers.bias
        return self.channels_first((accumulator.double() * numbers.scale).to(x.dtype))

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of a real input on the source's grid, uint8, channels last, contiguous."""
        return self.sources[0].byte_codes(self.channels_last(x))

    def reals(self, codes: torch.Tensor, numbers: LayerIntegers, dtype: torch.dtype, masked: bool = False) -> Clamped:
        """The real output [N, O, ...] from input codes, as the device computes it, and where it is not clamped."""
        n, grid = numbers, (self.output, numbers.bounds, dtype)
        factor, addend = (n.multiplier, n.shift), n.bias + n.constant
        values, inside = requantised(self.sums(codes, n), addend, n.weight_zero, factor, grid, masked)
        return self.channels_first(values), None if inside is None else self.channels_first(inside)

    def accumulate(self, x: torch.Tensor, numbers: LayerIntegers) -> torch.Tensor:
        """Accumulators, int64 [N, ..., O], of real input x on the source's grid."""
        return accumulators(self.sums(self.codes(x), numbers), numbers.bias + numbers.constant, numbers.weight_zero)

    def sums(self, codes: torch.Tensor, numbers: LayerIntegers) -> tuple[torch.Tensor, ...]:
        """Sums of the products, int32 [N, ..., O]; with affine weights also of the codes, int32 [N, ..., groups]."""
        index = self.layer_circuit.index(numbers.values)
        sums = self.table_product(codes, index, self.layer_circuit.products)
        if self.operands is not Operands.AFFINE:
            return (sums,)
        return sums, self.table_product(codes, torch.zeros_like(index[: self.groups]), _CODES)

    def _quantised_weight(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        floor = self.bias.detach().double().abs() / (self.gain * self.sources[0].scale) / LARGEST_BIAS
        return quantise_weight(self.weight, self.operands, floor.clamp(min=1e-12), self.layer_circuit.table.weight_bits)

    def _rounded(self, values: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        """Real size of the integer weights, with a straight-through gradient."""
        shape = (-1, *[1] * (self.weight.dim() - 1))
        rounded = ((values - zero.view(shape)) * scale.view(shape)).to(self.weight.dtype)
        return self.weight + (rounded - self.weight).detach()
