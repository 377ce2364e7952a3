"""The interpreter against plain Python loops, hand-worked numbers, and its own fast implementation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.interpreter import requantise, run
from deploy.program import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Flatten,
    IntegerWeights,
    Linear,
    MaxPool2d,
    Pad,
    Program,
    Slice,
    TensorSpec,
)
from deploy.testing import ProgramBuilder, every_operation_program, random_codes, random_program

SEEDS = st.integers(0, 2**32 - 1)


def clamp(value, low, high):
    return max(low, min(high, value))


def scaled(value, multiplier, shift):
    """Python integers: floor((value * multiplier + half) / 2^shift)."""
    return (value * multiplier + 2 ** (shift - 1)) // 2**shift


def slow_layer(op, codes, source, target):
    """A convolution or linear layer on one sample, one product at a time."""
    weights = op.weights
    if isinstance(op, Linear):
        values, codes = weights.values[:, None, None, :], codes[None, None, :]
        stride, padding, dilation, groups = (1, 1), (0, 0, 0, 0), (1, 1), 1
        height, width = 1, 1
    else:
        values, stride, padding, dilation, groups = weights.values, op.stride, op.padding, op.dilation, op.groups
        height, width = target.shape[:2]
    outputs, kh, kw, inputs = values.shape
    result = np.empty((height, width, outputs), np.int64)
    for y, x, o in np.ndindex(height, width, outputs):
        total = int(weights.bias[o])
        for i, j, c in np.ndindex(kh, kw, inputs):
            row, column = y * stride[0] - padding[0] + i * dilation[0], x * stride[1] - padding[1] + j * dilation[1]
            inside = 0 <= row < codes.shape[0] and 0 <= column < codes.shape[1]
            channel = o // (outputs // groups) * inputs + c
            code = int(codes[row, column, channel]) if inside else source.zero_point
            weight = int(values[o, i, j, c])
            product = weight * code if weights.table is None else int(weights.table[weight + weights.offset, code])
            total += product - int(weights.weight_zero[o]) * code
        value = scaled(total, int(weights.multiplier[o]), int(weights.shift[o]))
        result[y, x, o] = clamp(value + target.zero_point, op.low, op.high)
    return result if isinstance(op, Conv2d) else result[0, 0]


def slow_window(op, codes, source, target):
    """Pooling of one sample, one window at a time."""
    result = np.empty(target.shape, np.int64)
    for y, x, c in np.ndindex(*target.shape):
        window = []
        for i, j in np.ndindex(*op.kernel):
            row, column = y * op.stride[0] - op.padding[0] + i, x * op.stride[1] - op.padding[1] + j
            if 0 <= row < codes.shape[0] and 0 <= column < codes.shape[1]:
                window.append(int(codes[row, column, c]))
        if isinstance(op, MaxPool2d):
            result[y, x, c] = max(window)
        else:
            value = scaled(sum(code - source.zero_point for code in window), op.multiplier, op.shift)
            result[y, x, c] = clamp(value + target.zero_point, op.low, op.high)
    return result


def slow_rest(op, codes, specs, target):
    if isinstance(op, Add):
        flat = [
            clamp(
                target.zero_point
                + scaled(
                    sum(
                        m * (int(code) - spec.zero_point)
                        for m, code, spec in zip(op.multipliers, pair, specs, strict=True)
                    ),
                    1,
                    op.shift,
                ),
                op.low,
                op.high,
            )
            for pair in zip(codes[0].flat, codes[1].flat, strict=True)
        ]
        return np.array(flat).reshape(target.shape)
    if isinstance(op, Concat):
        parts = [
            np.vectorize(
                lambda code, s=spec, m=m, n=n: clamp(target.zero_point + scaled(int(code) - s.zero_point, m, n), 0, 255)
            )(array)
            for array, spec, m, n in zip(codes, specs, op.multipliers, op.shifts, strict=True)
        ]
        return np.concatenate(parts, axis=-1)
    if isinstance(op, Pad):
        result = np.full(target.shape, specs[0].zero_point)
        (top, _), (left, _), (front, _) = op.amounts
        for y, x, c in np.ndindex(*specs[0].shape):
            result[y + top, x + left, c + front] = codes[0][y, x, c]
        return result
    if isinstance(op, Slice):
        indices = [range(*bounds) for bounds in zip(op.starts, op.stops, op.steps, strict=True)]
        return codes[0][np.ix_(*indices)]
    if isinstance(op, Flatten):
        return codes[0].transpose(2, 0, 1).reshape(-1) if codes[0].ndim == 3 else codes[0]
    return np.array([clamp(int(code), op.low, op.high) for code in codes[0].flat]).reshape(target.shape)


def slow_run(program, codes):
    """Every tensor of one sample."""
    tensors = {program.input: codes}
    for op in program.operations:
        inputs = [tensors[name] for name in op.inputs]
        specs, target = [program.tensors[name] for name in op.inputs], program.tensors[op.output]
        if isinstance(op, Conv2d | Linear):
            tensors[op.output] = slow_layer(op, inputs[0], specs[0], target)
        elif isinstance(op, MaxPool2d | AvgPool2d):
            tensors[op.output] = slow_window(op, inputs[0], specs[0], target)
        else:
            tensors[op.output] = slow_rest(op, inputs, specs, target)
    return tensors


@settings(max_examples=12)
@given(SEEDS)
def test_random_programs_equal_plain_loops(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng, length=4)
    codes = random_codes(rng, program, 1)
    record = {}
    run(program, codes, record=record)
    for name, expected in slow_run(program, codes[0]).items():
        np.testing.assert_array_equal(record[name][0], expected, err_msg=name)


@settings(max_examples=15)
@given(SEEDS)
def test_fast_equals_reference(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    codes = random_codes(rng, program, 3)
    slow, fast = {}, {}
    run(program, codes, record=slow)
    run(program, codes, record=fast, kernels="fast")
    for name in slow:
        np.testing.assert_array_equal(slow[name], fast[name], err_msg=name)


def test_fast_equals_reference_on_every_operation():
    rng = np.random.default_rng(0)
    program = every_operation_program(rng)
    codes = random_codes(rng, program, 4)
    np.testing.assert_array_equal(run(program, codes), run(program, codes, kernels="fast"))


@pytest.mark.parametrize("fan_in", [257, 259, 40000])
def test_fast_exact_products_at_the_float32_limit(fan_in):
    """255 * sum|w| just below and above 2^24: odd sums that float32 could not hold."""
    weights = IntegerWeights(
        np.full((2, fan_in), 255, np.int16) * np.array([[1], [-1]], np.int16),
        np.zeros(2, np.int32),
        np.array([1, -1], np.int32),
        np.full(2, 2**30, np.int32),
        np.full(2, 30, np.int32),
        None,
        255,
        "exact",
        "sign-magnitude-9",
    )
    specs = {"x": TensorSpec((fan_in,), "uint8", 1.0, 0), "y": TensorSpec((2,), "int16", 1.0, 0)}
    exact = 255 * 255 * fan_in
    shifted = replace(weights, shift=np.full(2, 47, np.int32))
    for layer in (weights, shifted):
        program = Program(specs, (Linear("fc", ("x",), "y", layer, -32768, 32767),), "x", "y")
        codes = np.full((1, fan_in), 255, np.uint8)
        expected = [
            clamp(scaled(value, 2**30, int(layer.shift[0])), -32768, 32767) for value in (exact + 1, -exact - 1)
        ]
        for kernels in ("reference", "fast"):
            assert run(program, codes, kernels=kernels)[0].tolist() == expected


@pytest.mark.parametrize(
    ("value", "multiplier", "shift", "expected"),
    [
        (3, 2**30, 31, 2),  # 1.5 rounds up
        (-3, 2**30, 31, -1),  # -1.5 rounds up, to -1
        (-1, 2**30, 31, 0),
        (5, 2**30, 30, 5),
        (2**31 - 1, 2**31 - 1, 62, 1),
        (-(2**31), 2**31 - 1, 62, -1),
        (2**31 - 1, 2**31 - 1, 1, 255),
        (12345, 0, 40, 0),
    ],
)
def test_requantise_golden(value, multiplier, shift, expected):
    assert requantise(np.array([value]), multiplier, shift, 0, (-128, 255)).tolist() == [expected]


def test_batches_do_not_matter(monkeypatch):
    rng = np.random.default_rng(3)
    program = random_program(rng)
    codes = random_codes(rng, program, 7)
    whole, record = {}, {}
    outputs = run(program, codes, record=whole)
    monkeypatch.setattr("deploy.interpreter._BATCH_BYTES", 1)
    np.testing.assert_array_equal(run(program, codes, record=record), outputs)
    assert set(record) == set(program.tensors)
    for name in whole:
        np.testing.assert_array_equal(record[name], whole[name])
    assert run(program, codes[:0]).shape == (0, outputs.shape[1])


def test_refuses_wrong_codes_and_kernels():
    rng = np.random.default_rng(4)
    program = random_program(rng)
    codes = random_codes(rng, program, 2)
    with pytest.raises(ValueError, match="quantise_input"):
        run(program, codes.astype(np.int32))
    with pytest.raises(ValueError, match="takes codes uint8"):
        run(program, codes[:, :-1])
    with pytest.raises(ValueError, match="fast"):
        run(program, codes, kernels="quick")


def test_modes_reach_the_program():
    builder = ProgramBuilder(np.random.default_rng(5), modes=("affine",))
    layer = builder.linear(builder.input((4,)), 3, last=True)
    weights = builder.program(layer).operations[0].weights
    assert weights.operands == "affine"
    assert weights.table is not None
    assert weights.weight_zero.all()
