"""The temperature: a doubt of 3 %, whatever the size of the outputs."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import Arithmetic, QuantisedNetwork
from noise_models.sensitivity import HessianVector, measure_sensitivity
from noise_models.sensitivity.temperature import DOUBT, fitting_temperature


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 20), size=st.floats(0.1, 1e5))
def test_it_reaches_the_doubt(seed: int, classes: int, size: float) -> None:
    scores = size * torch.randn(50, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = fitting_temperature(scores)
    doubt = float((1 - (scores / found).softmax(1).amax(1)).mean())
    assert found >= 1 and doubt >= DOUBT
    assert found < 1.0001 or doubt == pytest.approx(DOUBT, rel=0.01)
    if found > 1.0001:
        assert fitting_temperature(4 * scores) == pytest.approx(4 * found, rel=1e-3)


def test_one_output_and_equal_outputs_need_none() -> None:
    assert fitting_temperature(torch.full((3, 1), 1e6)) == 1
    assert fitting_temperature(torch.full((3, 5), 1e6)) == 1


def enlarged(network: QuantisedNetwork, factor: float) -> tuple[QuantisedNetwork, str]:
    """Outputs so many times as large, and the layer that makes them."""
    other = copy.deepcopy(network)
    name, layer = list(other.layers().items())[-1]
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.output.scale):
            tensor *= factor
    return other, name


def test_sensitivity_does_not_depend_on_the_size_of_the_outputs(small: Any) -> None:
    (large, last), (huge, _) = (enlarged(small.network, factor) for factor in (1e4, 1e6))
    wanted, found = (measure_sensitivity(network, small.images) for network in (large, huge))
    hardly = measure_sensitivity(huge, small.images, temperature=1.0)
    for name in wanted.layers:
        by = 1e4 if name == last else 1.0  # its errors are as much larger as its outputs
        np.testing.assert_allclose(by * found[name].incoherent, wanted[name].incoherent, rtol=0.01)
        assert by * hardly[name].incoherent.sum() < 0.2 * wanted[name].incoherent.sum()


def test_the_hessian_is_taken_at_the_same_one(small: Any, few_circuits: Any) -> None:
    large, _ = enlarged(small.network, 1e4)
    with large.using(Arithmetic.FAKE), torch.no_grad():
        wanted = fitting_temperature(large(small.images[0]))
    assert HessianVector(large, few_circuits, small.images).temperature == wanted > 1
