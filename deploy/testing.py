"""Random small programs for tests of back ends: every operation, every operand mode, awkward shapes.

A back end passes when it gives the interpreter's integers on `every_operation_program` and on many of
`random_program`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deploy.interpreter import accumulate, evaluate
from deploy.products import PRODUCTS
from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Int32,
    IntegerWeights,
    Linear,
    MaxPool2d,
    Operation,
    Pad,
    Program,
    Slice,
    TensorSpec,
    UInt8,
)
from deploy.shapes import output_shape

OPERAND_MODES: tuple[str, ...] = ("sign-magnitude", "sign-magnitude-9", "affine", "signed")
EXACT = "exact"

_WEIGHT_RANGE = {
    "sign-magnitude": (-127, 127),
    "sign-magnitude-9": (-255, 255),
    "affine": (0, 255),
    "signed": (-127, 127),
}
_SAMPLES = 6
_INPUT_SIDE = (5, 9)
_INPUT_CHANNELS = (1, 4)


def random_layer_table(rng: np.random.Generator, operands: str) -> tuple[Int32, int]:
    """A layer table [n_w, 256] of an invented circuit, and its offset.

    The circuit truncates low bits and adds noise; products with zero are not zero, as in some published
    circuits.

    Args:
        rng: source of randomness.
        operands: one of `OPERAND_MODES`.
    """
    low, high = _WEIGHT_RANGE[operands]
    drop = int(rng.integers(0, 5))
    noise = int(rng.choice([1, 40, 3000]))
    x = np.arange(256, dtype=np.int64)
    if operands == "signed":
        circuit = _invented_circuit(rng, (x - 128)[:, None] * np.arange(low, high + 1)[None, :], drop, noise)
        table = circuit.T + 128 * np.arange(low, high + 1)[:, None]
    elif operands == "affine":
        table = np.abs(_invented_circuit(rng, x[:, None] * x[None, :], drop, noise)).T
    else:
        magnitude = np.abs(_invented_circuit(rng, x[:, None] * np.arange(high + 1)[None, :], drop, noise))
        values = np.arange(low, high + 1)
        table = np.where(values < 0, -1, 1)[:, None] * magnitude.T[np.abs(values)]
    return table.astype(np.int32), -low


def _invented_circuit(rng: np.random.Generator, exact: np.ndarray, drop: int, noise: int) -> np.ndarray:
    return (exact >> drop << drop) + rng.integers(-noise, noise + 1, exact.shape)


def fixed_point(factor: float) -> tuple[int, int]:
    """Positive real factor -> (multiplier, shift), multiplier / 2^shift ~ factor, multiplier in
    [2^30, 2^31)."""
    fraction, exponent = math.frexp(factor)
    multiplier = round(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    return multiplier, min(62, max(1, 31 - exponent))


@dataclass
class ProgramBuilder:
    """Grows a valid program one operation at a time; every method returns the new tensor's name.

    Attributes:
        rng: source of randomness for all weights, scales, zero points and tables.
        tensors, operations: what was built so far.
        modes: operand modes (or "exact") drawn from for layers whose mode is not given.
    """

    rng: np.random.Generator
    modes: Sequence[str] = (EXACT, *OPERAND_MODES)
    tensors: dict[str, TensorSpec] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    _tables: dict[str, tuple[Int32, int]] = field(default_factory=dict)
    _samples: dict[str, np.ndarray] = field(default_factory=dict)

    def input(self, shape: tuple[int, ...]) -> str:
        """Declares the program's input, (H, W, C) or (F,)."""
        self.tensors["input"] = self._spec(shape)
        self._samples["input"] = self.rng.integers(0, 256, (_SAMPLES, *shape), dtype=np.uint8)
        return "input"

    def program(self, output: str) -> Program:
        """The finished program."""
        return Program(self.tensors, tuple(self.operations), "input", output, {"model": "random"})

    def conv2d(self, source: str, out_channels: int, *, groups: int = 1, mode: str | None = None) -> str:
        """Convolution with random kernel, stride, dilation and (asymmetric) padding that fit the input."""
        height, width, channels = self.tensors[source].shape
        kernel = tuple(int(self.rng.integers(1, min(3, size) + 1)) for size in (height, width))
        stride, dilation, padding = self._geometry((height, width), (kernel[0], kernel[1]), dilate=True)
        shape = (out_channels, *kernel, channels // groups)
        return self._append(
            Conv2d, (source,), weights=self._weights(shape, mode), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        )  # fmt: skip

    def same_conv2d(self, source: str, out_channels: int, *, mode: str | None = None) -> str:
        """3x3 convolution of stride 1 that keeps height and width."""
        weights = self._weights((out_channels, 3, 3, self.tensors[source].shape[2]), mode)
        return self._append(
            Conv2d, (source,), weights=weights, stride=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1), groups=1
        )

    def linear(self, source: str, out_features: int, *, mode: str | None = None, last: bool = False) -> str:
        """Linear layer; `last` makes it the program's int16 output."""
        weights = self._weights((out_features, self.tensors[source].shape[0]), mode)
        return self._append(Linear, (source,), dtype="int16" if last else "uint8", weights=weights)

    def add(self, left: str, right: str) -> str:
        """Sum of two tensors of one shape."""
        multipliers = tuple(int(value) for value in self.rng.integers(2**19, 2**21, 2))
        return self._append(Add, (left, right), multipliers=multipliers, shift=int(self.rng.integers(21, 23)))

    def max_pool(self, source: str) -> str:
        """Maximum pooling with random window."""
        kernel, stride, padding = self._pool_geometry(source)
        return self._append(MaxPool2d, (source,), like=source, kernel=kernel, stride=stride, padding=padding)

    def avg_pool(self, source: str, *, whole: bool = False) -> str:
        """Average pooling with random window, or over the whole picture."""
        kernel, stride, padding = self._pool_geometry(source)
        if whole:
            height, width, _ = self.tensors[source].shape
            kernel, stride, padding = (height, width), (height, width), (0, 0, 0, 0)
        multiplier, shift = fixed_point(self.rng.uniform(0.7, 1.5) / (kernel[0] * kernel[1]))
        return self._append(
            AvgPool2d,
            (source,),
            kernel=kernel,
            stride=stride,
            padding=padding,
            multiplier=multiplier,
            shift=shift,
        )

    def clamp(self, source: str) -> str:
        """Bounds."""
        return self._append(Clamp, (source,), like=source)

    def pad(self, source: str) -> str:
        """Padding on all three axes."""
        amounts = tuple((int(a), int(b)) for a, b in self.rng.integers(0, 3, (3, 2)))
        return self._append(Pad, (source,), like=source, amounts=amounts)

    def slice(self, source: str) -> str:
        """Start, stop and step on all three axes."""
        shape = self.tensors[source].shape
        starts = tuple(int(self.rng.integers(0, (size + 1) // 2)) for size in shape)
        stops = tuple(
            int(self.rng.integers(max(start + 1, size - 1), size + 1))
            for start, size in zip(starts, shape, strict=True)
        )
        steps = tuple(int(self.rng.integers(1, 3)) for _ in shape)
        return self._append(Slice, (source,), like=source, starts=starts, stops=stops, steps=steps)

    def concat(self, *sources: str) -> str:
        """Channels of several tensors, each rescaled."""
        pairs = [fixed_point(self.rng.uniform(0.4, 1.6)) for _ in sources]
        return self._append(Concat, sources, multipliers=tuple(m for m, _ in pairs), shifts=tuple(s for _, s in pairs))

    def flatten(self, source: str) -> str:
        """Channel-first flattening."""
        return self._append(Flatten, (source,), like=source)

    def _append(
        self,
        kind: type[Operation],
        inputs: tuple[str, ...],
        *,
        dtype: str = "uint8",
        like: str | None = None,
        **fields: object,
    ) -> str:
        name = f"layer{len(self.operations)}.{kind.__name__.lower()}"
        output = f"{name}:0"
        if "low" in kind.__dataclass_fields__:
            fields["low"], fields["high"] = self._bounds(dtype)
        operation = kind(name, inputs, output, **fields)
        specs = [self.tensors[source] for source in inputs]
        shape = output_shape(operation, [spec.shape for spec in specs])
        self.tensors[output] = self._spec(shape, dtype, self.tensors[like] if like else None)
        samples = [self._samples[source] for source in inputs]
        if isinstance(operation, Conv2d | Linear):
            operation = self._centred(operation, samples[0], spread=60 if dtype == "uint8" else 3000)
        self.operations.append(operation)
        self._samples[output] = evaluate(operation, samples, specs, self.tensors[output], PRODUCTS["reference"])
        return output

    def _centred(self, layer: Conv2d | Linear, samples: UInt8, spread: float) -> Conv2d | Linear:
        """The layer with bias and requantisation that make its codes vary by about `spread`."""
        zero = self.tensors[layer.inputs[0]].zero_point
        sums = accumulate(layer, samples, zero, PRODUCTS["reference"])
        channels = sums.shape[-1]
        deviation = np.maximum(sums.std(axis=0).reshape(-1, channels).mean(axis=0), 200)
        pairs = [fixed_point(spread * self.rng.uniform(0.5, 1.5) / value) for value in deviation]
        multiplier, shift = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
        if len(multiplier) > 1 and self.rng.random() < 0.1:
            multiplier[0] = 0
        bias = self.rng.normal(0, deviation) - sums.reshape(-1, channels).mean(axis=0)
        weights = replace(layer.weights, bias=np.rint(bias).astype(np.int32), multiplier=multiplier, shift=shift)
        return replace(layer, weights=weights)

    def _spec(self, shape: tuple[int, ...], dtype: str = "uint8", like: TensorSpec | None = None) -> TensorSpec:
        if like:
            return TensorSpec(shape, dtype, like.scale, like.zero_point)
        zero = int(self.rng.choice([0, 255, int(self.rng.integers(60, 196))], p=[0.1, 0.04, 0.86]))
        return TensorSpec(shape, dtype, float(self.rng.uniform(0.01, 0.1)), 0 if dtype == "int16" else zero)

    def _bounds(self, dtype: str) -> tuple[int, int]:
        if dtype == "int16":
            return -32768, 32767
        if self.rng.random() < 0.5:
            return 0, 255
        return int(self.rng.integers(0, 50)), int(self.rng.integers(205, 256))

    def _geometry(
        self, size: tuple[int, int], kernel: tuple[int, int], *, dilate: bool
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        stride = (int(self.rng.integers(1, 3)), int(self.rng.integers(1, 3)))
        most = [max(1, (side - 1) // max(1, extent - 1)) for side, extent in zip(size, kernel, strict=True)]
        dilation = tuple(int(self.rng.integers(1, min(2, limit) + 1)) if dilate else 1 for limit in most)
        limits = [min(2, d * (k - 1)) for d, k in zip(dilation, kernel, strict=True)]
        top, left, bottom, right = (int(self.rng.integers(0, limits[axis] + 1)) for axis in (0, 1, 0, 1))
        return stride, (dilation[0], dilation[1]), (top, left, bottom, right)

    def _pool_geometry(self, source: str) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        height, width, _ = self.tensors[source].shape
        kernel = (int(self.rng.integers(1, min(3, height) + 1)), int(self.rng.integers(1, min(3, width) + 1)))
        stride, _, padding = self._geometry((height, width), kernel, dilate=False)
        half = (kernel[0] // 2, kernel[1] // 2)
        top, left, bottom, right = (min(padding[side], half[side % 2]) for side in range(4))
        return kernel, stride, (top, left, bottom, right)

    def _weights(self, shape: tuple[int, ...], mode: str | None) -> IntegerWeights:
        rng = self.rng
        mode = mode or str(rng.choice(list(self.modes)))
        operands = str(rng.choice(OPERAND_MODES)) if mode == EXACT else mode
        low, high = _WEIGHT_RANGE[operands]
        out = shape[0]
        if mode != EXACT and (mode not in self._tables or rng.random() < 0.5):
            self._tables[mode] = random_layer_table(rng, mode)
        table, offset = self._tables[mode] if mode != EXACT else (None, -low)
        affine = operands == "affine"
        weight_zero = rng.integers(100, 156, out) if affine else np.zeros(out)
        values = np.rint(rng.normal(128 if affine else 0, 45, shape)).clip(low, high)
        values.flat[0] = rng.choice([low, high])
        return IntegerWeights(
            values.astype(np.int16),
            weight_zero.astype(np.int32),
            np.zeros(out, np.int32),
            np.full(out, 2**30, np.int32),
            np.full(out, 30, np.int32),
            table,
            offset,
            EXACT if table is None else f"invented_{mode}",
            operands,
        )


def random_program(
    rng: np.random.Generator, *, length: int = 6, modes: Sequence[str] = (EXACT, *OPERAND_MODES)
) -> Program:
    """A random valid program: (H, W, C) uint8 in, int16 [F] out, ending in Flatten and Linear.

    Args:
        rng: source of randomness; the same seed gives the same program.
        length: operations before the ending (an operation may bring helpers with it).
        modes: what layers draw from: "exact" or any of `OPERAND_MODES`.
    """
    builder = ProgramBuilder(rng, modes)
    side = rng.integers(_INPUT_SIDE[0], _INPUT_SIDE[1] + 1, 2)
    current = builder.input((int(side[0]), int(side[1]), int(rng.integers(*_INPUT_CHANNELS, endpoint=True))))
    for _ in range(length):
        step = _STEPS[str(rng.choice(list(_STEPS)))]
        current = step(builder, current)
    return _finish(builder, current)


def every_operation_program(rng: np.random.Generator) -> Program:
    """One program with every operation and operand mode; grouped, depthwise and dilated layers included."""
    builder = ProgramBuilder(rng)
    current = builder.input((26, 23, 4))
    for mode in (EXACT, *OPERAND_MODES):
        current = builder.same_conv2d(current, 6, mode=mode)
    for name, step in _STEPS.items():
        if name not in ("max_pool", "avg_pool", "slice"):
            current = step(builder, current)
    for name in ("max_pool", "slice", "avg_pool"):
        current = _STEPS[name](builder, current)
    for mode in OPERAND_MODES:
        channels = builder.tensors[current].shape[2]
        current = builder.conv2d(current, channels, groups=channels, mode=mode)
    return _finish(builder, current)


def random_codes(rng: np.random.Generator, program: Program, count: int) -> UInt8:
    """Input codes uint8 [count, *shape]; the first is all 0, the second all 255, the rest random."""
    codes = rng.integers(0, 256, (count, *program.tensors[program.input].shape), dtype=np.uint8)
    codes[:1], codes[1:2] = 0, 255
    return codes


def _finish(builder: ProgramBuilder, current: str) -> Program:
    if builder.rng.random() < 0.3:
        current = builder.avg_pool(current, whole=True)
    hidden = builder.linear(builder.flatten(current), int(builder.rng.integers(3, 9)))
    return builder.program(builder.linear(builder.flatten(hidden), int(builder.rng.integers(2, 11)), last=True))


def _step_conv(builder: ProgramBuilder, current: str) -> str:
    return builder.conv2d(current, int(builder.rng.integers(1, 13)))


def _step_grouped(builder: ProgramBuilder, current: str) -> str:
    channels = builder.tensors[current].shape[2]
    groups = max(divisor for divisor in (1, 2, 3) if channels % divisor == 0)
    return builder.conv2d(current, groups * int(builder.rng.integers(1, 4)), groups=groups)


def _step_depthwise(builder: ProgramBuilder, current: str) -> str:
    channels = builder.tensors[current].shape[2]
    return builder.conv2d(current, channels * int(builder.rng.integers(1, 3)), groups=channels)


def _step_residual(builder: ProgramBuilder, current: str) -> str:
    branch = builder.same_conv2d(current, builder.tensors[current].shape[2])
    return builder.add(branch, current) if builder.rng.random() < 0.5 else builder.add(current, branch)


def _step_concat(builder: ProgramBuilder, current: str) -> str:
    branch = builder.same_conv2d(current, int(builder.rng.integers(1, 6)))
    return builder.concat(branch, current, branch) if builder.rng.random() < 0.3 else builder.concat(current, branch)


_STEPS: dict[str, Callable[[ProgramBuilder, str], str]] = {
    "conv2d": _step_conv,
    "grouped": _step_grouped,
    "depthwise": _step_depthwise,
    "residual": _step_residual,
    "concat": _step_concat,
    "max_pool": ProgramBuilder.max_pool,
    "avg_pool": ProgramBuilder.avg_pool,
    "clamp": ProgramBuilder.clamp,
    "pad": ProgramBuilder.pad,
    "slice": ProgramBuilder.slice,
}
