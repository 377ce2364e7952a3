"""Buffers alive together never overlap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploy.c.arena import ALIGNMENT, Buffer, plan_arena
from deploy.c.storage import plan_storage
from deploy.program import Flatten
from deploy.testing import random_program

BUFFERS = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 12), st.integers(0, 6)), max_size=25)


@given(BUFFERS)
def test_no_overlap(shapes):
    buffers = [Buffer(f"b{i}", size, first, first + life) for i, (size, first, life) in enumerate(shapes)]
    offsets, total = plan_arena(buffers)
    for a in buffers:
        assert offsets[a.name] % ALIGNMENT == 0
        assert offsets[a.name] + a.size <= total
        for b in buffers:
            if a is not b and a.first <= b.last and b.first <= a.last:
                apart = offsets[a.name] + a.size <= offsets[b.name] or offsets[b.name] + b.size <= offsets[a.name]
                assert apart
    live = max((sum(b.size for b in buffers if b.first <= step <= b.last) for step in range(20)), default=0)
    assert live <= total <= sum(b.size + ALIGNMENT for b in buffers)


def test_reuse_golden():
    """A chain of equal buffers, each alive for two steps, needs two places."""
    offsets, total = plan_arena([Buffer(str(step), 64, step, step + 1) for step in range(10)])
    assert total == 128
    assert set(offsets.values()) == {0, 64}


def test_flatten_of_one_pixel_is_free():
    for seed in range(20):
        program = random_program(np.random.default_rng(seed))
        storage = plan_storage(program, {})
        for op in program.operations:
            if isinstance(op, Flatten) and len(program.tensors[op.inputs[0]].shape) == 1:
                assert op.output in storage.skipped
                assert storage.pointers[op.output] == storage.pointers[op.inputs[0]]
