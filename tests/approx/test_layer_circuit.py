"""What makes the products of a layer: one circuit, one for each channel, with and without derivatives."""

import copy
import dataclasses
import pickle

import pytest
import torch

from approx import Operands, layer_table
from approx.layer_circuit import LayerCircuit
from multipliers import generate

NAMES = ("mul8u_trunc2", "mul8u_drum4", "mul8u_array")
TABLES = {name: layer_table(generate(name), Operands.SIGN_MAGNITUDE) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_one_circuit(name: str) -> None:
    made = LayerCircuit.of_layer(name, Operands.SIGN_MAGNITUDE, TABLES[name])
    assert made.exact is (name == "mul8u_array") and not made.mixed
    values = torch.randint(-127, 128, (3, 2, 5), dtype=torch.int16)
    codes = torch.randint(0, 256, values.shape)
    assert torch.equal(
        made.products[made.index(values).long(), codes], TABLES[name].tensor()[values.long() + 127, codes]
    )


def test_a_circuit_for_each_channel() -> None:
    of_channel = [NAMES[i] for i in (1, 0, 1, 2)]
    made = LayerCircuit.of_channels(TABLES, Operands.SIGN_MAGNITUDE, of_channel)
    assert made.mixed and not made.exact and made.name == "mul8u_drum4+mul8u_trunc2+mul8u_array"
    values = torch.randint(-127, 128, (4, 6), dtype=torch.int16)
    codes = torch.randint(0, 256, values.shape)
    found = made.products[made.index(values).long(), codes]
    for row, name, weight, code in zip(found, of_channel, values.long(), codes, strict=True):
        assert torch.equal(row, TABLES[name].tensor()[weight + 127, code])
    alike = LayerCircuit.of_channels(TABLES, Operands.SIGN_MAGNITUDE, ["mul8u_array"] * 4)
    assert not alike.mixed and alike.exact and alike.name == "mul8u_array"


def test_it_never_changes() -> None:
    made = LayerCircuit.of_layer("mul8u_drum4", Operands.SIGN_MAGNITUDE, TABLES["mul8u_drum4"])
    smooth = made.with_gradient(4)
    assert made.derivatives is None and smooth.derivatives is not None
    assert smooth.with_gradient("straight").derivatives is None and smooth.derivatives is not None
    assert copy.deepcopy(smooth) is smooth
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"
    again = pickle.loads(pickle.dumps(smooth))
    assert torch.equal(again.products, smooth.products) and not again.table.values.flags.writeable


def test_exact_products_have_no_derivatives_of_their_own() -> None:
    made = LayerCircuit.of_layer("mul8u_array", Operands.SIGN_MAGNITUDE, TABLES["mul8u_array"])
    assert made.with_gradient(4).derivatives is None
    with pytest.raises(ValueError, match=r"half_window: expected 0\.\.125, got 126"):
        made.with_gradient(126)
