"""Column compression: the schedule keeps the sum, whatever the bits, and spends Dadda's number of cells."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipliers.blocks.columns import (
    COUNTING_CELLS,
    Cells,
    add_columns,
    columns_of,
    count_columns,
    gate_cells,
    product_bits,
    reduce_columns,
    sum_columns,
    table_cell,
    without_chain,
)
from multipliers.builder import NetlistBuilder
from multipliers.netlist import ONE, ZERO

CELLS = {"adders": COUNTING_CELLS, "compressors": COUNTING_CELLS.with_exact_compressor()}

heights = st.lists(st.integers(0, 17), min_size=1, max_size=12)


def random_columns(column_heights: list[int], seed: int) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [[generator.integers(0, 2, size=50) for _ in range(height)] for height in column_heights]


@settings(max_examples=150)
@given(heights, st.integers(0, 2**32 - 1), st.sampled_from(sorted(CELLS)))
def test_exact_cells_keep_the_sum_of_any_columns(column_heights: list[int], seed: int, kind: str) -> None:
    columns = random_columns(column_heights, seed)
    expected = sum((bit << k for k, column in enumerate(columns) for bit in column), np.zeros(50, dtype=np.int64))
    cells = [CELLS[kind]] * len(columns)
    assert all(len(column) <= 2 for column in reduce_columns(columns, cells))
    np.testing.assert_array_equal(count_columns(columns, cells), expected % (1 << len(columns)))


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 9), max_size=9), min_size=1, max_size=10), st.booleans())
def test_gates_equal_counting_on_any_columns(choices: list[list[int]], compressors: bool) -> None:
    circuit = NetlistBuilder("columns", 4, 4)
    nets = [ZERO, ONE, *circuit.a, *circuit.b]
    columns = [[nets[choice] for choice in column] for column in choices]
    cells = gate_cells(circuit).with_exact_compressor() if compressors else gate_cells(circuit)
    table = circuit.finish(add_columns(circuit, columns, [cells] * len(columns))).product_table()
    a, b = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    values = [np.zeros_like(a), np.ones_like(a), *(a >> k & 1 for k in range(4)), *(b >> k & 1 for k in range(4))]
    expected = sum((values[c] << k for k, column in enumerate(choices) for c in column), np.zeros_like(a))
    np.testing.assert_array_equal(table, expected % (1 << len(columns)))


@pytest.mark.parametrize("width", [3, 4, 8, 12, 16])
def test_a_square_multiplier_takes_daddas_number_of_adders(width: int) -> None:
    """n^2 - 4n + 3 full and n - 1 half adders before the last two rows (Townsend, Swartzlander, Abraham 2003)."""
    used = {"half": 0, "full": 0}

    def half_add(x: int, y: int) -> tuple[int, int]:
        used["half"] += 1
        return 1, 1

    def full_add(x: int, y: int, z: int) -> tuple[int, int]:
        used["full"] += 1
        return 1, 1

    columns = [[1] * min(k + 1, 2 * width - 1 - k) for k in range(2 * width - 1)] + [[]]
    reduce_columns(columns, [Cells(half_add, full_add)] * len(columns))
    assert used == {"half": width - 1, "full": width * width - 4 * width + 3}


def test_sum_columns_adds_rows_with_constants_and_drops_what_does_not_fit() -> None:
    circuit = NetlistBuilder("rows", 3, 3)
    rows = [list(circuit.a), [ZERO, *circuit.b], [ONE, ONE, ZERO, ONE], list(circuit.a)]
    table = circuit.finish(sum_columns(circuit, rows, 4)).product_table()
    a, b = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    np.testing.assert_array_equal(table, (2 * a + 2 * b + 0b1011) % 16)
    assert columns_of([[ZERO, 5], [7]], 2) == [[7], [5]]


def test_product_bits_are_the_terms_of_the_product() -> None:
    a, b = np.arange(16)[:, None], np.arange(8)[None, :]
    columns = product_bits(a, b, 4, 3)
    assert [len(column) for column in columns] == [1, 2, 3, 3, 2, 1, 0]
    np.testing.assert_array_equal(sum(bit << k for k, column in enumerate(columns) for bit in column), a * b)


def test_a_table_cell_is_count_plus_error() -> None:
    x, y, z = (np.arange(8) >> k & 1 for k in range(3))
    low, high = table_cell({0b011: -1, 0b111: -2})(x, y, z)
    np.testing.assert_array_equal(low + 2 * high, [0, 1, 1, 1, 1, 2, 2, 1])


def test_a_chain_bit_is_never_lost() -> None:
    chainless = replace(COUNTING_CELLS, compress=without_chain(table_cell({})))
    columns = random_columns([8, 8], 0)
    with pytest.raises(ValueError, match="expected no chain bit"):
        reduce_columns(columns, [COUNTING_CELLS.with_exact_compressor(), chainless])
