"""Broken programs are refused with the operation's name."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.check import check_program
from deploy.program import Add, AvgPool2d, Clamp, Concat, Conv2d, Linear, MaxPool2d, Pad, Slice
from deploy.testing import every_operation_program, random_program


@pytest.fixture(scope="module")
def program():
    return every_operation_program(np.random.default_rng(7))


def broken(program, kind, change):
    """The program with the first operation of a kind changed."""
    index, op = next((i, op) for i, op in enumerate(program.operations) if type(op) is kind)
    operations = list(program.operations)
    operations[index] = change(op)
    return replace(program, operations=tuple(operations)), op


def weights(**changes):
    return lambda op: replace(op, weights=replace(op.weights, **{k: f(op.weights) for k, f in changes.items()}))


CASES = [
    (Conv2d, lambda op: replace(op, stride=(0, 1)), "at least 1"),
    (Conv2d, lambda op: replace(op, padding=(0, -1, 0, 0)), "no negative"),
    (Conv2d, lambda op: replace(op, groups=3), "channels"),
    (Conv2d, lambda op: replace(op, high=256), "within 0..255"),
    (Conv2d, lambda op: replace(op, low=9, high=8), "within 0..255"),
    (Conv2d, lambda op: replace(op, dilation=(90, 1)), "empty tensor"),
    (Conv2d, weights(shift=lambda w: np.zeros_like(w.shift)), "shift 1..62"),
    (Conv2d, weights(multiplier=lambda w: np.full_like(w.multiplier, 5)), "2\\^30"),
    (Conv2d, weights(bias=lambda w: w.bias.astype(np.int64)), "bias int64"),
    (Linear, weights(values=lambda w: w.values.astype(np.int32)), "expected int16"),
    (Linear, weights(values=lambda w: w.values[:, 1:]), "features"),
    (Linear, weights(table=lambda w: np.zeros((3, 256), np.int32)), "table of 3 rows"),
    (Linear, weights(table=lambda w: np.zeros((511, 255), np.int32)), "n_w, 256"),
    (Add, lambda op: replace(op, inputs=op.inputs[:1]), "expected 2"),
    (Add, lambda op: replace(op, multipliers=(2**23, 2**23)), "32 bits"),
    (Add, lambda op: replace(op, shift=0), "32 bits"),
    (Clamp, lambda op: replace(op, low=-1), "within"),
    (MaxPool2d, lambda op: replace(op, padding=(9, 0, 0, 0)), "less than its kernel"),
    (AvgPool2d, lambda op: replace(op, shift=63), "1..62"),
    (Concat, lambda op: replace(op, multipliers=op.multipliers[:1]), "expected 1"),
    (Pad, lambda op: replace(op, amounts=((-1, 0), (0, 0), (0, 0))), "no negative"),
    (Slice, lambda op: replace(op, stops=(99, 99, 99)), "takes"),
    (Slice, lambda op: replace(op, steps=(0, 1, 1)), "at least 1"),
]


@pytest.mark.parametrize(("kind", "change", "message"), CASES)
def test_refuses(program, kind, change, message):
    wrong, op = broken(program, kind, change)
    with pytest.raises(ValueError, match=message) as error:
        check_program(wrong)
    assert op.name in str(error.value)


def test_refuses_int16_in_the_middle(program):
    first = program.operations[0].output
    spec = replace(program.tensors[first], dtype="int16")
    with pytest.raises(ValueError, match="only the last"):
        check_program(replace(program, tensors={**program.tensors, first: spec}))


def test_refuses_wrong_shape(program):
    first = program.operations[0].output
    spec = replace(program.tensors[first], shape=(1, 2, 3))
    with pytest.raises(ValueError, match="writes shape"):
        check_program(replace(program, tensors={**program.tensors, first: spec}))


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_are_valid(seed):
    check_program(random_program(np.random.default_rng(seed)))
    check_program(every_operation_program(np.random.default_rng(seed)))
