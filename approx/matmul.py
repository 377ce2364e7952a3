"""`QuantMatmul`: a matrix product of two activations whose products come from a circuit's table (attention).

The second activation w takes the weight's place: with codes x, integers w and zero points z,

    Σ_k (x[p, k] - z_x) (w[k, o] - z_w) = Σ_k T[w, x] - z_w Σ_k x - z_x Σ_k w + K z_x z_w

AFFINE takes the codes of w as they are, SIGN_MAGNITUDE_9 codes minus zero point (-255..255): both are exact. The 8-bit
codings SIGN_MAGNITUDE and SIGNED first bring codes minus zero point to -127..127 by fixed-point requantisation, which
costs up to one bit of w.
"""

from typing import NamedTuple

import torch

from approx.clamping import requantised
from approx.kernels import ops
from approx.multiplying import Multiplying
from approx.operands import Operands
from approx.operation import Arithmetic, zero_of
from approx.parts import in_parts
from approx.quantizer import Quantizer
from approx.requantise import requantise

_TOGETHER = 16  # matrices of one kernel call; measured best of 1..96 on 197 x 64 matrices


class Second(NamedTuple):
    """The second activation in the circuit's coding: `real = scale * (values - zero)`.

    Attributes:
        values: int16 [..., K, O].
        zero: int64 scalar.
        scale: float64 scalar.
    """

    values: torch.Tensor
    zero: torch.Tensor
    scale: torch.Tensor


class QuantMatmul(Multiplying):
    """factor * x @ w for activations x [..., P, K] and w [..., K, O] with the same leading axes.

    Attributes:
        factor: positive, folded into requantisation.
    """

    exact_operands = Operands.SIGN_MAGNITUDE_9  # of all the bits of both activations

    def __init__(
        self, label: str, sources: tuple[Quantizer, Quantizer], output: Quantizer, factor: float = 1.0
    ) -> None:
        super().__init__(label, sources, output)
        self.factor = factor

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        x, w = inputs
        if self.arithmetic is not Arithmetic.FLOAT:
            values, zero, scale = self.second(w.detach())
            w = w + (((values - zero) * scale).to(w.dtype) - w).detach()
        return self.factor * (x @ w)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            values = self.reals(*inputs)
        return self.with_real_gradient(inputs, values)

    def second(self, w: torch.Tensor) -> Second:
        """The second activation, real on its grid, in the circuit's coding."""
        source = self.sources[1]
        zero, codes = source.zero_point, source.byte_codes(w).to(torch.int16)
        if self.operands is Operands.AFFINE:
            return Second(codes, zero, source.scale)
        none = torch.zeros_like(zero)
        centred = codes - zero.to(torch.int16)
        if self.operands is Operands.SIGN_MAGNITUDE_9:
            return Second(centred, none, source.scale)
        bounds = self.operands.span(self.layer_circuit.table.weight_bits)
        shrink = bounds[1] / torch.maximum(zero, source.bounds[1] - zero).double()
        multiplier, shift = ops.fixed_point(shrink)
        values = in_parts(lambda part: requantise(part, multiplier, shift, 0, bounds).to(torch.int16), centred)
        return Second(values, none, source.scale / shrink)

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
        """The real product [..., P, O] of reals on their grids, as the device computes it.

        Raises:
            ValueError: as `check_widths`.
        """
        self.check_widths()
        if not (torch.compiler.is_compiling() or x.numel()):
            return x.new_zeros(*x.shape[:-1], w.shape[-1])
        codes = self.sources[0].byte_codes(x.flatten(0, -3))
        second = self.second(w.flatten(0, -3))
        columns = second.values.mT
        if torch.compiler.is_compiling():  # a graph holds any number of matrices
            pairs = [(codes, columns)]
        else:
            pairs = list(zip(codes.split(_TOGETHER), columns.split(_TOGETHER), strict=True))
        parts = [self._product(rows, second._replace(values=values)) for rows, values in pairs]
        return torch.cat(parts).view(*x.shape[:-1], w.shape[-1])

    def sums(self, codes: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Sums of products, int32 [P, B, O], of codes uint8 [B, P, K] and values int16 [B, O, K].

        They are a 1 x 1 convolution of a P x 1 image whose groups are the B matrices: one call, whatever B is.
        """
        (matrices, rows, fan_in), columns = codes.shape, values.shape[1]
        image = codes.transpose(0, 1).reshape(1, rows, 1, matrices * fan_in).contiguous()
        index = self.layer_circuit.index(values).reshape(matrices * columns, 1, 1, fan_in).contiguous()
        sums = ops.table_conv2d(image, index, self.layer_circuit.products, (1, 1), (0, 0, 0, 0), (1, 1), matrices, 0)
        return sums.view(rows, matrices, columns)

    def _product(self, codes: torch.Tensor, second: Second) -> torch.Tensor:
        """Reals [B, P, O] of codes uint8 [B, P, K] and values [B, O, K]."""
        zero_x, fan_in = zero_of(self.sources[0]), codes.shape[2]
        sums = self.sums(codes, second.values)
        constant = fan_in * zero_x * second.zero - zero_x * second.values.sum(2, dtype=torch.int64)
        box = codes.sum(2, dtype=torch.int32).T.contiguous()  # [P, B]
        size = self.factor * self.sources[0].scale * second.scale / self.output.scale
        multiplier, shift = ops.fixed_point(size)
        each = [v.expand(constant.numel()).contiguous() for v in (second.zero, multiplier, shift)]
        grid = self.output, self.bounds, torch.float32
        values, _ = requantised((sums.flatten(1), box), constant.flatten(), each[0], (each[1], each[2]), grid)
        return values.view(sums.shape).transpose(0, 1)
