"""Layer tables: every coding collapses a circuit into products of weight value and activation code."""

import copy
import pickle

import numpy as np
import pytest

from approx import Operands, layer_table
from approx.operands import exact_table
from multipliers import Multiplier, Provenance, generate


def circuit(table: np.ndarray, signed: bool = False, name: str = "test") -> Multiplier:
    provenance = Provenance("test", "none", "made up", 0.0)
    return Multiplier(name, table.astype(np.int32), signed, 8, 8, 1.0, 1.0, None, None, provenance)


@pytest.fixture
def odd_table() -> np.ndarray:
    """An unsigned table with nothing regular about it, T[0][0] != 0."""
    return np.random.default_rng(3).integers(0, 65536, (256, 256))


def test_sign_magnitude_is_odd_in_the_weight_except_at_zero(odd_table: np.ndarray) -> None:
    table = layer_table(circuit(odd_table), Operands.SIGN_MAGNITUDE)
    assert table.values.shape == (255, 256) and table.offset == 127
    for weight, code in [(5, 200), (-5, 200), (0, 0), (0, 77), (-127, 255)]:
        expected = (-1 if weight < 0 else 1) * odd_table[code, abs(weight)]
        assert table.values[weight + 127, code] == expected


def test_nine_bit_sign_magnitude_uses_the_whole_operand(odd_table: np.ndarray) -> None:
    table = layer_table(circuit(odd_table), Operands.SIGN_MAGNITUDE_9)
    assert table.values.shape == (511, 256)
    assert table.values[0, 9] == -odd_table[9, 255] and table.values[510, 9] == odd_table[9, 255]


def test_affine_is_the_circuit_itself_and_swap_transposes_it(odd_table: np.ndarray) -> None:
    assert (layer_table(circuit(odd_table), Operands.AFFINE).values == odd_table.T).all()
    assert (layer_table(circuit(odd_table), Operands.AFFINE, swap=True).values == odd_table).all()


def test_signed_circuit_sees_the_code_minus_128() -> None:
    pattern = np.random.default_rng(4).integers(-16384, 16385, (256, 256))
    table = layer_table(circuit(pattern, signed=True), Operands.SIGNED)
    assert table.values[-3 + 127, 10] == pattern[(10 - 128) & 255, -3 & 255] + 128 * -3
    swapped = layer_table(circuit(pattern, signed=True), Operands.SIGNED, swap=True)
    assert swapped.values[-3 + 127, 10] == pattern[-3 & 255, (10 - 128) & 255] + 128 * -3


@pytest.mark.parametrize("operands", list(Operands))
def test_exact_circuits_give_exact_tables(operands: Operands) -> None:
    values = np.arange(256)
    if operands is Operands.SIGNED:
        values = values.astype(np.uint8).view(np.int8).astype(np.int64)
    table = layer_table(circuit(np.outer(values, values), signed=operands.signed_circuit), operands)
    assert table.exact
    assert (table.weight_values[[0, -1]] == [operands.lowest, operands.highest]).all()


def test_wrong_signedness_is_refused(odd_table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="need a signed circuit, 'test' is unsigned"):
        layer_table(circuit(odd_table), Operands.SIGNED)


def test_tables_are_read_only_wherever_they_come_from() -> None:
    table = layer_table(generate("mul8u_trunc2"), Operands.AFFINE)
    for same in (table, exact_table(Operands.SIGNED), pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        with pytest.raises(ValueError, match="read-only"):
            same.values[0, 0] = 1
    again = pickle.loads(pickle.dumps(table))
    assert (again.values == table.values).all() and again.offset == table.offset
    assert table.tensor() is table.tensor() and (table.tensor().numpy() == table.values).all()
