"""The integer program: a quantised network as an explicit list of integer operations. The golden model.

Every back end (numpy interpreter, ONNX, TVM, C) executes the same `Program` and must give the same integers.
Activations are NHWC, one sample per row of the batch; shapes below leave the batch out.

Arithmetic, the same everywhere:

    acc[o] = bias[o] + sum_k table[w[o, k] + offset, x_k] - weight_zero[o] * sum_k x_k
    y[o]   = clamp(zero_point + ((acc[o] * multiplier[o] + 2^(shift[o] - 1)) >> shift[o]), low, high)

with 64-bit products and a flooring shift. Padding positions hold the input's zero-point code. `table is None` means
the exact product `w * x`. `bias` already holds the constant zero-point terms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class TensorSpec:
    """Type of a tensor: `real = scale * (code - zero_point)`.

    Attributes:
        shape: (H, W, C) or (F,), without the batch.
        dtype: "uint8" between operations, "int16" for the program's output.
        scale: real size of one code step.
        zero_point: the code of real zero.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Weights of a convolution or linear layer with everything between accumulator and output code.

    Attributes:
        values: int16 [O, kh, kw, I / groups] or [O, K]; the integer weights themselves.
        weight_zero: int32 [O]; zero only unless operands are "affine".
        bias: int32 [O], in accumulator units, with the constant zero-point terms.
        multiplier, shift: int32 [O]; requantisation.
        table: int32 [n_w, 256] products of weight `value + offset` with an activation code; None = exact.
        offset: added to a weight value to index `table`.
        circuit: name of the multiplier ("exact" without one).
        operands: how operands reach the circuit (approx.Operands).
    """

    values: Int16
    weight_zero: Int32
    bias: Int32
    multiplier: Int32
    shift: Int32
    table: Int32 | None
    offset: int
    circuit: str
    operands: str


@dataclass(frozen=True, eq=False)
class Operation:
    """One step: reads the named tensors, writes one. Abstract; the classes below are final."""

    name: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, eq=False)
class Conv2d(Operation):
    """[H, W, I] -> [Ho, Wo, O]. `padding` is (top, left, bottom, right); a ReLU is `low` = zero point."""

    weights: IntegerWeights
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """[K] -> [O]."""

    weights: IntegerWeights
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Sum of two tensors of one shape.

    y = clamp(zp + ((multipliers[0] * (a - zp_a) + multipliers[1] * (b - zp_b) + 2^(shift-1)) >> shift), low, high);
    multipliers are below 2^21, so 32 bits suffice.
    """

    multipliers: tuple[int, int]
    shift: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class MaxPool2d(Operation):
    """Maximum of codes; input and output share scale and zero point. Padding positions never win (code 0)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class AvgPool2d(Operation):
    """Mean over a window; padding positions count as real zero.

    y = clamp(zp + ((sum(x - zp_x) * multiplier + 2^(shift-1)) >> shift), low, high), 64-bit product.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    multiplier: int
    shift: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Clamp(Operation):
    """A ReLU-like bound that could not be fused; input and output share scale and zero point."""

    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Pad(Operation):
    """Pads [H, W, C] by ((before, after), ...) per axis with the zero-point code."""

    amounts: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Slice(Operation):
    """Takes start:stop:step per axis of [H, W, C]."""

    starts: tuple[int, int, int]
    stops: tuple[int, int, int]
    steps: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Concat(Operation):
    """Joins tensors on the channel axis, each rescaled: clamp(zp + ((x - zp_x) * m + 2^(s-1) >> s), 0, 255), 64-bit."""

    multipliers: tuple[int, ...]
    shifts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Flatten(Operation):
    """[H, W, C] -> [C * H * W] in channel-first order, as PyTorch flattens. A (F,) input passes unchanged."""


OPERATIONS: dict[str, type[Operation]] = {
    kind.__name__: kind for kind in (Conv2d, Linear, Add, MaxPool2d, AvgPool2d, Clamp, Pad, Slice, Concat, Flatten)
}


@dataclass(frozen=True, eq=False)
class Program:
    """Operations in execution order over named tensors.

    Attributes:
        tensors: specification of every tensor by name.
        operations: in execution order; each writes one new tensor.
        input, output: names of the program's input (uint8) and output (int16).
        metadata: free text, e.g. the model's name.
    """

    tensors: Mapping[str, TensorSpec]
    operations: tuple[Operation, ...]
    input: str
    output: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {self.input}
        for operation in self.operations:
            missing = [name for name in operation.inputs if name not in known]
            if missing:
                raise ValueError(f"operation {operation.name!r} reads {missing} before anything writes it")
            if operation.output in known or operation.output not in self.tensors:
                raise ValueError(
                    f"operation {operation.name!r} writes {operation.output!r}, expected a new, specified tensor"
                )
            known.add(operation.output)
        if self.output not in known:
            raise ValueError(f"no operation writes the program's output {self.output!r}")

    def quantise_input(self, images: npt.NDArray[np.floating]) -> UInt8:
        """Real images [N, C, H, W] (or [N, F]) -> codes uint8 [N, H, W, C] (or [N, F]).

        Raises:
            ValueError: the shape is not the program's.
        """
        spec = self.tensors[self.input]
        values = np.moveaxis(images, 1, -1) if images.ndim == 4 else images
        if values.shape[1:] != spec.shape:
            expected = (spec.shape[-1], *spec.shape[:-1]) if len(spec.shape) == 3 else spec.shape
            raise ValueError(
                f"the program takes images of shape {('N', *expected)}, got {images.shape}; resize or crop them"
            )
        codes = np.rint(values.astype(np.float32) / np.float32(spec.scale)) + spec.zero_point
        return np.ascontiguousarray(np.clip(codes, 0, 255).astype(np.uint8))

    def dequantise_output(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Output codes int16 [N, F] -> real values float32 [N, F]."""
        spec = self.tensors[self.output]
        return (np.float32(spec.scale) * (codes.astype(np.int32) - spec.zero_point)).astype(np.float32)
