"""The weight map against the variance of the error computed plainly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.operands import LayerTable, Operands, exact_table
from approx.weight_map import mapped, weight_map


def table(seed: int, largest: int) -> LayerTable:
    random = np.random.default_rng(seed)
    weights = np.arange(-20, 21)
    error = random.integers(-largest, largest + 1, (41, 256))
    return LayerTable((np.multiply.outer(weights, np.arange(256)) + error).astype(np.int32), 20)


def variance(products: np.ndarray, weight: int, codes: np.ndarray) -> float:
    error, share = products - weight * np.arange(256.0), codes / codes.sum()
    return float(share @ (error - share @ error) ** 2)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0, 30, 3000]))
def test_every_weight_gets_the_row_of_least_variance(seed: int, largest: int) -> None:
    made = table(seed, largest)
    codes = np.random.default_rng(seed).integers(0, 5, 256).astype(np.float64)
    rows = weight_map(made, codes)
    for weight, row in zip(made.weight_values, rows, strict=True):
        every = [variance(products, weight, codes) for products in made.values]
        assert every[row] <= min(every) + 1e-6 * (1 + max(every))


def test_the_exact_product_maps_to_itself() -> None:
    for operands in Operands:
        rows = weight_map(exact_table(operands), np.ones(256))
        np.testing.assert_array_equal(rows, np.arange(len(rows)))


def test_truncated_weights_round_to_the_nearest() -> None:
    """A circuit that drops two bits of |w| has products for 0, 4, 8...: the map rounds where the circuit truncates."""
    weights = np.arange(-127, 128)
    kept = np.sign(weights) * (np.abs(weights) >> 2 << 2)
    made = LayerTable(np.multiply.outer(kept, np.arange(256)).astype(np.int32), 127)
    rows = weight_map(made, np.ones(256))
    assert (np.abs(kept[rows] - weights) <= np.abs(kept - weights)).all()
    assert kept[rows][weights == 7] == 8 and kept[rows][weights == -7] == -8


def test_only_codes_that_are_seen_count() -> None:
    made, codes = table(1, 500), np.zeros(256)
    codes[10:20] = 1.0
    other = LayerTable(np.where(codes > 0, made.values, 0).astype(np.int32), made.offset)
    np.testing.assert_array_equal(weight_map(made, codes), weight_map(other, codes))


def test_a_mapped_table_holds_rows_of_the_circuit() -> None:
    made = table(2, 2000)
    moved = mapped(made, np.ones(256))
    np.testing.assert_array_equal(moved.values, made.values[weight_map(made, np.ones(256))])
    assert (moved.offset, moved.code_bits, moved.weight_bits) == (made.offset, made.code_bits, made.weight_bits)
    with pytest.raises(ValueError, match="read-only"):
        moved.values[0, 0] = 1


@pytest.mark.parametrize("codes", [np.zeros(256), -np.ones(256), np.ones(255)])
def test_impossible_shares_are_refused(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="share of each of 256 codes"):
        weight_map(table(0, 1), codes)
