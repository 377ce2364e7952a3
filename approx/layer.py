"""`QuantLayer`: a layer whose products come from a circuit's table.

The integer forward is what the device computes, entry for entry of the table; its gradient is in `approx.backward`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from approx.backward import IntegerLayer
from approx.difference_gradient import Planes, check_half_window, derivative_planes
from approx.kernels import ops, pointwise
from approx.layer_integers import LayerIntegers
from approx.operands import LayerTable, Operands, exact_table
from approx.operation import Arithmetic, Operation, zero_of
from approx.parts import in_parts
from approx.quantizer import Quantizer, quantise_weight
from approx.requantise import requantise

EXACT = "exact"
LARGEST_BIAS = 2.0**27
_CODES = torch.arange(256, dtype=torch.int32)[None]  # a table whose products are the codes themselves
Gradients = tuple[torch.Tensor | None, torch.Tensor | None]


class QuantLayer(Operation):
    """A layer with weights. Abstract; see `approx.convolution` and `approx.linear`.

    Attributes:
        weight: float [O, ...], batch normalisation folded.
        bias: float [O].
        gain: float64 [O], free correction of the circuit's mean slope; folded into requantisation.
        operands, table, circuit: how products are made; `table is None` is the exact product.
        product_table: the table, also where it is that of the exact product.
        products: its values, int32 [n_w, 256]; with `use_circuits` those of all circuits, one below the other.
        first_row: int16 or int32 [O], where in `products` the circuit of each output channel begins.
        half_window: gradient of INTEGER arithmetic; None is straight-through, see `use_gradient`.
        channel_axis: of its real input and output.
        perturb: called on the real output [N, O, ...] before the bias, in FAKE arithmetic only.
    """

    channel_axis = 1
    gain: torch.Tensor

    def __init__(
        self, label: str, source: Quantizer, output: Quantizer, parameters: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        super().__init__(label, (source,), output)
        weight, bias = parameters
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())
        self.register_buffer("gain", torch.ones(len(weight), dtype=torch.float64))
        self.half_window: int | None = None
        self.use_circuit(EXACT, Operands.SIGN_MAGNITUDE, None)
        self.perturb: Callable[[torch.Tensor], torch.Tensor] | None = None

    def use_circuit(self, circuit: str, operands: Operands, table: LayerTable | None) -> None:
        """Make products with this table (None: exactly), the weights coded as `operands`."""
        approximate = None if table is None or table.exact else table
        self.derivatives = _derivatives(approximate, self.half_window)  # may raise: nothing has changed yet
        self.circuit, self.operands, self.table = circuit, operands, approximate
        self.product_table = table or exact_table(operands)
        self.products = self.product_table.tensor()  # at hand, so that a graph takes it in
        self.first_row = torch.zeros(len(self.weight), dtype=torch.int16)

    def use_circuits(self, circuits: Mapping[str, LayerTable], operands: Operands, of_channel: Sequence[str]) -> None:
        """Make products with a circuit of its own in every output channel.

        Args:
            circuits: tables by name; those that are used have equal operand widths.
            operands: weight coding, the same for all.
            of_channel: name of the circuit of each output channel, O of them.

        Raises:
            ValueError: a name has no table, not O names, different widths, or training by table differences is on.
        """
        outputs, used = len(self.weight), list(dict.fromkeys(of_channel))
        missing = sorted(set(used) - set(circuits))
        if len(of_channel) != outputs or missing:
            raise ValueError(
                f"layer {self.label!r}: expected one of the circuits {list(circuits)} for each of {outputs} output "
                f"channels, got {len(of_channel)} names" + (f", unknown: {missing}" if missing else "")
            )
        tables = [circuits[name] for name in used]
        widths = {(t.code_bits, t.weight_bits, t.offset) for t in tables}
        if len(widths) > 1:
            raise ValueError(f"layer {self.label!r}: the circuits of its channels differ in width or coding: {widths}")
        if self.half_window is not None:
            raise ValueError(f"layer {self.label!r}: table differences need one circuit a layer; use_gradient(None)")
        self.use_circuit("+".join(used), operands, tables[0])
        if len(tables) > 1:
            self.table = None if all(table.exact for table in tables) else self.product_table
            self.products = torch.cat([table.tensor() for table in tables])
            places = torch.tensor([used.index(name) for name in of_channel], dtype=torch.int32)
            self.first_row = places * len(tables[0].values)

    @property
    def mixed(self) -> bool:
        """Whether output channels have circuits of their own (`use_circuits`)."""
        return len(self.products) > len(self.product_table.values)

    def use_gradient(self, half_window: int | None) -> None:
        """Train with the smoothed difference of the product table, or straight through (None, the default).

        Args:
            half_window: of the moving average before the difference, 0..125 (`approx.difference_gradient`); published
                ones are 1..64, chosen by a few epochs of a small network.

        Raises:
            ValueError: half_window is out of range, or output channels have circuits of their own.
        """
        if half_window is not None:
            check_half_window(half_window)
            if self.mixed:
                raise ValueError(f"layer {self.label!r}: table differences need one circuit a layer, it has several")
        self.derivatives = _derivatives(self.table, half_window)  # may raise: nothing has changed yet
        self.half_window = half_window

    @property
    def fan_in(self) -> int:
        """Products summed into one output."""
        return int(self.weight[0].numel())

    def integers(self) -> LayerIntegers:
        """Everything between input codes and output codes, as integers.

        Raises:
            ValueError: the network is not calibrated, or its activations are wider than the circuit's operand.
        """
        source, output = self.sources[0], self.output
        if not torch.compiler.is_compiling() and not (source.calibrated and output.calibrated):
            raise ValueError(f"layer {self.label!r} is not calibrated; call calibrate(network, loader) first")
        if source.bits > self.product_table.code_bits:
            raise ValueError(
                f"layer {self.label!r} reads activations of {source.bits} bits, multiplier {self.circuit!r} takes "
                f"{self.product_table.code_bits}; quantise the network with bits={self.product_table.code_bits}"
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
            return self.reals(self.codes(inputs[0]), numbers, inputs[0].dtype)
        weight = self._rounded(numbers.values, numbers.weight_scale, numbers.weight_zero)
        result: torch.Tensor = IntegerLayer.apply(inputs[0], weight, self.bias, self, numbers)
        return result

    def response(self, x: torch.Tensor) -> torch.Tensor:
        """Real output [N, O, ...] before the bias in INTEGER arithmetic, for correction and error studies."""
        numbers = self.integers()
        accumulator = self.accumulate(x, numbers) - numbers.bias
        return self.channels_first((accumulator.double() * numbers.scale).to(x.dtype))

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of a real input on the source's grid, uint8, channels last, contiguous."""
        rows, source = self.channels_last(x.detach()), self.sources[0]
        if pointwise.usable(rows):
            return pointwise.codes(rows.contiguous(), source.grid)
        codes = in_parts(lambda part: source.codes(part).to(torch.uint8), rows.flatten(0, -2))
        return codes.contiguous().view(rows.shape)

    def reals(self, codes: torch.Tensor, numbers: LayerIntegers, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The layer's real output [N, O, ...] from input codes, as the device computes it."""
        sums, *boxes = self.sums(codes, numbers)
        n, scale = numbers, self.output.grid[0]
        if dtype == torch.float32 and pointwise.usable(sums):
            affine = (boxes[0], n.weight_zero) if boxes else None
            grid = scale, n.zero_point, n.bounds
            return self.channels_first(
                pointwise.requantise(sums, n.bias + n.constant, (n.multiplier, n.shift), grid, affine)
            )

        def finish(*part: torch.Tensor) -> torch.Tensor:
            total = self._accumulators(n, *part)
            return self.output.reals(requantise(total, n.multiplier, n.shift, n.zero_point, n.bounds), dtype)

        rows = [t.flatten(0, -2) for t in (sums, *boxes)]
        return self.channels_first(in_parts(finish, *rows).view(sums.shape))

    def accumulate(self, x: torch.Tensor, numbers: LayerIntegers) -> torch.Tensor:
        """Accumulators, int64 [N, ..., O], of real input x on the source's grid."""
        return self._accumulators(numbers, *self.sums(self.codes(x), numbers))

    def sums(self, codes: torch.Tensor, numbers: LayerIntegers) -> tuple[torch.Tensor, ...]:
        """Sums of the products, int32 [N, ..., O]; with affine weights also of the codes, int32 [N, ..., groups]."""
        first = self.first_row.view(-1, *[1] * (numbers.values.dim() - 1))
        index = numbers.values + (first + self.product_table.offset)
        sums = self.table_product(codes, index, self.products)
        if self.operands is not Operands.AFFINE:
            return (sums,)
        return sums, self.table_product(codes, torch.zeros_like(index[: self.groups]), _CODES)

    def _accumulators(self, numbers: LayerIntegers, sums: torch.Tensor, *boxes: torch.Tensor) -> torch.Tensor:
        total = sums + (numbers.bias + numbers.constant)
        for box in boxes:
            total -= numbers.weight_zero * box.repeat_interleave(len(self.weight) // self.groups, -1)
        return total

    def _quantised_weight(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        floor = self.bias.detach().double().abs() / (self.gain * self.sources[0].scale) / LARGEST_BIAS
        return quantise_weight(self.weight, self.operands, floor.clamp(min=1e-12), self.product_table.weight_bits)

    def _rounded(self, values: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        """Real size of the integer weights, with a straight-through gradient."""
        shape = (-1, *[1] * (self.weight.dim() - 1))
        rounded = ((values - zero.view(shape)) * scale.view(shape)).to(self.weight.dtype)
        return self.weight + (rounded - self.weight).detach()

    def per_channel(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Values [O] in the shape that multiplies or adds to each channel of `like`."""
        return values.view([-1 if d == self.channel_axis % like.dim() else 1 for d in range(like.dim())])

    def channels_last(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, H, W, C]; a matrix product's [N, ..., F] stays."""
        return x.movedim(self.channel_axis, -1)

    def channels_first(self, x: torch.Tensor) -> torch.Tensor:
        """[N, H, W, C] -> [N, C, H, W]; a matrix product's [N, ..., F] stays."""
        return x.movedim(-1, self.channel_axis)

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


def _derivatives(table: LayerTable | None, half_window: int | None) -> tuple[Planes, Planes] | None:
    return None if table is None or half_window is None else derivative_planes(table, half_window)
