"""Packed weights and tables give back every product."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.c.packing import accumulator_reach, is_exact, pack_exact, pack_table
from deploy.program import IntegerWeights
from deploy.testing import OPERAND_MODES, ProgramBuilder, random_layer_table


def unpack(packed, encoded):
    """Products [*, 256] of stored weights."""
    if not packed.folded:
        return packed.rows[encoded].astype(np.int64)
    top = 8 * np.dtype(packed.weight_type).itemsize - 1
    sign = np.where(encoded >> top, -1, 1)[:, None]
    return sign * packed.rows[encoded & ((1 << top) - 1)].astype(np.int64)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from(OPERAND_MODES), st.integers(1, 400))
def test_every_product_survives(seed, mode, count):
    rng = np.random.default_rng(seed)
    table, offset = random_layer_table(rng, mode)
    values = [rng.integers(-offset, len(table) - offset, count).astype(np.int16) for _ in range(2)]
    packed = pack_table(table, offset, values)
    for array in values:
        np.testing.assert_array_equal(unpack(packed, packed.encode(array)), table[array.astype(int) + offset])


def test_golden_sizes():
    """Truncated sign-magnitude circuit: one row per distinct magnitude, 16 bits, no sign."""
    magnitudes = np.abs(np.arange(-127, 128)) >> 2 << 2
    table = (np.sign(np.arange(-127, 128))[:, None] * magnitudes[:, None] * np.arange(256)).astype(np.int32)
    packed = pack_table(table, 127, [np.arange(-127, 128).astype(np.int16)])
    assert (packed.folded, packed.rows.shape, packed.element_type) == (True, (32, 256), "uint16")
    assert packed.weight_type == "uint8"
    few = pack_table(table, 127, [np.array([4, -5, 100], np.int16)])
    assert few.rows.shape == (2, 256)
    lopsided = table.copy()
    lopsided[0, 0] += 1
    plain = pack_table(lopsided, 127, [np.arange(-127, 128).astype(np.int16)])
    assert (plain.folded, plain.element_type) == (False, "int16")


def test_nine_bit_weights_need_wide_row_numbers():
    table = np.arange(-255, 256)[:, None] * np.arange(256)[None, :] + np.sign(np.arange(-255, 256))[:, None]
    packed = pack_table(table.astype(np.int32), 255, [np.arange(-255, 256).astype(np.int16)])
    assert (packed.folded, packed.weight_type, len(packed.rows)) == (True, "uint16", 256)


def weights_of(mode, seed=0):
    return ProgramBuilder(np.random.default_rng(seed))._weights((5, 3, 3, 4), mode)


@pytest.mark.parametrize("mode", ["sign-magnitude", "affine", "sign-magnitude-9"])
def test_exact_weights_keep_their_sums(mode):
    weights = replace(weights_of(mode), table=None)
    packed = pack_exact(weights)
    assert packed.values.dtype == (np.int16 if mode == "sign-magnitude-9" else np.int8)
    codes = np.random.default_rng(1).integers(0, 256, (3, 3, 4))
    for zero, values, old_zero, old in zip(
        packed.weight_zero, packed.values, weights.weight_zero, weights.values, strict=True
    ):
        assert ((values.astype(int) - zero) * codes).sum() == ((old.astype(int) - old_zero) * codes).sum()


def test_is_exact_looks_only_at_weights_used():
    table = (np.arange(-127, 128)[:, None] * np.arange(256)).astype(np.int32)
    weights = replace(weights_of("sign-magnitude"), table=table)
    assert is_exact(weights)
    table[127 + int(weights.values.max()), 3] += 1
    assert not is_exact(weights)


@pytest.mark.parametrize("mode", ["exact", *OPERAND_MODES])
def test_reach_bounds_every_sum(mode):
    weights: IntegerWeights = weights_of(mode, seed=3)
    exact = pack_exact(weights) if weights.table is None else None
    table = weights.table
    if table is None:
        table = np.arange(-weights.offset, 256)[:, None] * np.arange(256)
    products = table[weights.values.astype(int) + weights.offset].reshape(5, -1, 256)
    terms = products - weights.weight_zero[:, None, None] * np.arange(256)
    worst = max(
        np.abs(terms.max(axis=2).sum(axis=1) + weights.bias).max(),
        np.abs(terms.min(axis=2).sum(axis=1) + weights.bias).max(),
    )
    assert accumulator_reach(weights, exact) >= worst
