"""`QuantMatmul`: a matrix product of two activations whose products come from a circuit's table (attention).

The second activation w takes the weight's place: with codes x, integers w and zero points z,

    Σ_k (x[p, k] - z_x) (w[k, o] - z_w) = Σ_k T[w, x] - z_w Σ_k x - z_x Σ_k w + K z_x z_w

How w is coded is said in `approx.second_operand`. Free correction is one gain and one bias for the whole result: there
are no channels whose operands stay the same from image to image.
"""

from collections.abc import Callable

import torch

from approx.clamping import accumulators, requantised
from approx.kernels import ops
from approx.multiplying import Multiplying
from approx.operands import Operands
from approx.operation import Arithmetic, zero_of
from approx.quantizer import Quantizer
from approx.second_operand import Second

_TOGETHER = 16  # matrices of one kernel call; measured best of 1..96 on 197 x 64 matrices
_Terms = tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]


class QuantMatmul(Multiplying):
    """factor * x @ w for activations x [..., P, K] and w [..., K, O] with the same leading axes.

    Attributes:
        factor: positive, folded into requantisation.
        gain, bias: [1]; buffers, which training leaves alone.
    """

    exact_operands = Operands.SIGN_MAGNITUDE_9  # of all the bits of both activations

    def __init__(
        self, label: str, sources: tuple[Quantizer, Quantizer], output: Quantizer, factor: float = 1.0
    ) -> None:
        super().__init__(label, sources, output)
        self.factor = factor
        self.register_buffer("gain", torch.ones(1, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(1))

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        x, w = inputs
        if self.arithmetic is Arithmetic.FLOAT:
            return self.factor * (x @ w)
        values, zero, scale = self.second(w.detach())
        w = w + (((values - zero) * scale).to(w.dtype) - w).detach()
        response = self.factor * self.gain.to(x.dtype) * (x @ w)
        if self.perturb is not None and self.arithmetic is Arithmetic.FAKE:
            response = self.perturb(response)
        return response + self.bias

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            values = self.reals(*inputs)
        return self.with_real_gradient(inputs, values)

    def second(self, w: torch.Tensor) -> Second:
        """The second activation, real on its grid, in the circuit's coding."""
        source, bits = self.sources[1], self.layer_circuit.table.weight_bits
        codes = source.byte_codes(w).to(torch.int16)
        return Second(codes, source.zero_point, source.scale).coded(self.operands, bits, source.bits)

    def check_widths(self) -> None:
        """Checks that the activations fit the circuit's operands.

        Raises:
            ValueError: they do not; says which.
        """
        shrinks = self.operands in (Operands.SIGN_MAGNITUDE, Operands.SIGNED)
        table, (first, second) = self.layer_circuit.table, self.sources
        if first.bits > table.code_bits or (second.bits > table.weight_bits and not shrinks):
            raise ValueError(
                f"matrix product {self.label!r} reads activations of {first.bits} and {second.bits} bits, multiplier "
                f"{self.circuit!r} takes {table.code_bits} and {table.weight_bits}; quantise the network with fewer "
                "bits, or code the second with operands='sign-magnitude', which rounds it"
            )

    def reals(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """The real product [..., P, O] of reals on their grids, as the device computes it."""
        return self._in_parts(self._requantised, x, w)

    def response(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self._in_parts(self._response, *inputs)

    def pairs(self, x: torch.Tensor, w: torch.Tensor) -> list[tuple[torch.Tensor, Second]]:
        """Codes uint8 [B, P, K] and second activations [B, O, K], some matrices at a time, of reals on their grids.

        Raises:
            ValueError: as `check_widths`.
        """
        self.check_widths()
        codes = self.sources[0].byte_codes(x.flatten(0, -3))
        second = self.second(w.flatten(0, -3))
        columns = second.values.mT
        if torch.compiler.is_compiling():  # a graph holds any number of matrices
            return [(codes, second._replace(values=columns))]
        split = zip(codes.split(_TOGETHER), columns.split(_TOGETHER), strict=True)
        return [(rows, second._replace(values=values)) for rows, values in split]

    def _in_parts(
        self, of_part: Callable[[torch.Tensor, Second], torch.Tensor], x: torch.Tensor, w: torch.Tensor
    ) -> torch.Tensor:
        """What becomes of `pairs`, put together."""
        if not (torch.compiler.is_compiling() or x.numel()):
            return x.new_zeros(*x.shape[:-1], w.shape[-1])
        return torch.cat([of_part(*pair) for pair in self.pairs(x, w)]).view(*x.shape[:-1], w.shape[-1])

    def sums(self, codes: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Sums of products, int32 [P, B, O], of codes uint8 [B, P, K] and values int16 [B, O, K].

        They are a 1 x 1 convolution of a P x 1 image whose groups are the B matrices: one call, whatever B is.
        """
        (matrices, rows, fan_in), columns = codes.shape, values.shape[1]
        image = codes.transpose(0, 1).reshape(1, rows, 1, matrices * fan_in).contiguous()
        index = self.layer_circuit.index(values).reshape(matrices * columns, 1, 1, fan_in).contiguous()
        sums = ops.table_conv2d(image, index, self.layer_circuit.products, (1, 1), (0, 0, 0, 0), (1, 1), matrices, 0)
        return sums.view(rows, matrices, columns)

    def _requantised(self, codes: torch.Tensor, second: Second) -> torch.Tensor:
        """Reals [B, P, O] on the output's grid."""
        sums, constant, zero = self._terms(codes, second)
        step = self._step(second)
        bias = torch.round(self.bias.double() / step).to(torch.int64)
        multiplier, shift = (
            v.expand(constant.shape[0]).contiguous() for v in ops.fixed_point(step / self.output.scale)
        )
        grid = self.output, self.bounds, torch.float32
        values, _ = requantised(sums, constant + bias, zero, (multiplier, shift), grid)
        return values.view(codes.shape[1], codes.shape[0], -1).transpose(0, 1)

    def _response(self, codes: torch.Tensor, second: Second) -> torch.Tensor:
        """Reals [B, P, O] before the bias, not rounded."""
        values = (accumulators(*self._terms(codes, second)) * self._step(second)).float()
        return values.view(codes.shape[1], codes.shape[0], -1).transpose(0, 1)

    def _terms(self, codes: torch.Tensor, second: Second) -> _Terms:
        """Sums of products int32 [P, B * O] and of codes int32 [P, B]; zero-point terms and zero points [B * O]."""
        zero_x, fan_in = zero_of(self.sources[0]), codes.shape[2]
        sums = self.sums(codes, second.values).flatten(1)
        constant = fan_in * zero_x * second.zero - zero_x * second.values.sum(2, dtype=torch.int64)
        box = codes.sum(2, dtype=torch.int32).T.contiguous()
        return (sums, box), constant.flatten(), second.zero.expand(constant.numel()).contiguous()

    def _step(self, second: Second) -> torch.Tensor:
        """Real size of one unit of the sums, gain included, float64 [1]."""
        return self.gain * self.factor * self.sources[0].scale * second.scale
