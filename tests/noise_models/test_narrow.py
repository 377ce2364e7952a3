"""Operands of fewer bits: the prediction against a network that really runs on them, golden values, bad input."""

import numpy as np
import pytest
import torch
from torch import nn

from approx import Arithmetic, Choice, LayerTrace, Operands, layer_table, quantise, trace
from multipliers import Library, generate
from noise_models import (
    FisherDegradation,
    Grid,
    LayerSensitivity,
    PicojouleEnergy,
    Sensitivity,
    error_model,
    input_grids,
    narrow_candidates,
    predict_narrow,
)
from noise_models.testing import random_trace

LIBRARY = Library([generate(n) for n in ("mul8u_exact", "mul8u_trunc4", "mul4u_exact", "mul8x4u_exact", "mul8s_exact")])


def own_grid(seen: LayerTrace) -> Grid:
    return Grid(seen.input_scale, seen.input_zero, 8)


def test_the_exact_layer_on_its_own_grid_has_no_error() -> None:
    seen, operands = random_trace(1, groups=2), Operands.SIGN_MAGNITUDE
    prediction = predict_narrow(seen, own_grid(seen), operands, layer_table(LIBRARY["mul8u_exact"], operands))
    for moment in (prediction.mean, prediction.std, prediction.residual_std):
        assert moment.shape == (4,) and not moment.any()


@pytest.mark.parametrize("groups", [1, 2])
def test_at_eight_bits_it_is_the_sampled_error(groups: int) -> None:
    """The codes and weights are those of the trace, so only the circuit errs, as the error model says."""
    seen, operands = random_trace(2, groups=groups), Operands.SIGN_MAGNITUDE
    table = layer_table(LIBRARY["mul8u_trunc4"], operands)
    mine, model = predict_narrow(seen, own_grid(seen), operands, table), error_model("sampled")
    known = model.predict(seen, operands, table)
    for key in ("mean", "std", "residual_std"):
        np.testing.assert_allclose(getattr(mine, key), getattr(known, key), rtol=1e-6, atol=1e-9)


def test_golden_values_by_hand() -> None:
    """One weight of 1 (scale 1/7 at 4 bits, exact), codes 0..255 of real size 1/255 on a grid of 15 steps."""
    codes = np.arange(256, dtype=np.uint8).reshape(1, 256, 1)
    seen = LayerTrace("a", 1, codes, np.ones((1, 1), dtype=np.float32), 1 / 255, 0, 1.0, np.ones(1))
    table = layer_table(LIBRARY["mul4u_exact"], Operands.SIGN_MAGNITUDE)
    prediction = predict_narrow(seen, Grid(1 / 15, 0, 4), Operands.SIGN_MAGNITUDE, table)
    error = np.rint(np.arange(256) / 17) / 15 - np.arange(256) / 255
    assert prediction.mean[0] == pytest.approx(error.mean(), abs=1e-12)
    assert prediction.std[0] == pytest.approx(error.std())


@pytest.mark.parametrize("operands", [Operands.SIGN_MAGNITUDE, Operands.SIGN_MAGNITUDE_9, Operands.AFFINE])
def test_it_predicts_what_a_narrow_network_does(operands: Operands) -> None:
    """One layer of a network with 4-bit activations and weights, on the images whose patches were sampled."""
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten()).eval(), torch.rand(40, 3, 8, 8)
    wide, narrow = (quantise(model, [images], bits=b) for b in (8, 4))
    seen = trace(wide, [images], 40 * 36)["0"]
    prediction = predict_narrow(seen, input_grids(narrow)["0"], operands, layer_table(LIBRARY["mul4u_exact"], operands))
    layers = [network.layers()["0"] for network in (wide, narrow)]
    layers[1].use_circuit("mul4u_exact", operands, layer_table(LIBRARY["mul4u_exact"], operands))
    with torch.no_grad():
        sources = [layer.sources[0](images) for layer in layers]
        outputs = [layer.response(x) for layer, x in zip(layers, sources, strict=True)]
    error = (outputs[1] - outputs[0]).transpose(0, 1).flatten(1).double().numpy()
    np.testing.assert_allclose(prediction.std, error.std(1), rtol=0.05)
    np.testing.assert_allclose(prediction.mean, error.mean(1), atol=0.1 * float(error.std()))


def test_candidates_of_every_width() -> None:
    seen = random_trace(3, channels=2)
    judge = FisherDegradation(Sensitivity({seen.name: LayerSensitivity(np.ones(2), np.ones(2))}, 1))
    cost = PicojouleEnergy({seen.name: seen}, LIBRARY["mul8u_exact"])
    grid8, grid4 = own_grid(seen), Grid(seen.input_scale * 17, round(seen.input_zero / 17), 4)
    codings = [Operands.SIGN_MAGNITUDE, Operands.AFFINE, Operands.SIGNED]
    wide = narrow_candidates(seen, grid8, LIBRARY.values(), codings, judge, cost)
    narrow = narrow_candidates(seen, grid4, LIBRARY.values(), codings, judge, cost)
    assert {c.bits for c in wide} == {8} and {c.bits for c in narrow} == {4}
    assert not any(c.choice.multiplier == "mul4u_exact" for c in wide)
    swapped = Choice("mul8x4u_exact", Operands.AFFINE, True)
    assert swapped in {c.choice for c in narrow} and swapped not in {c.choice for c in wide}
    assert Choice("mul8u_exact", Operands.AFFINE, True) not in {c.choice for c in wide}
    by_choice = {c.choice: c for c in wide}
    exact, four = by_choice[Choice("mul8u_exact")], by_choice[Choice("mul8x4u_exact")]
    assert exact.energy == 1.0 and exact.degradation == 0.0
    assert four.energy == LIBRARY["mul8x4u_exact"].energy_pj / LIBRARY["mul8u_exact"].energy_pj < 0.6
    assert four.degradation > 0
    assert next(c for c in narrow if c.choice == Choice("mul8u_exact")).degradation > 0
    assert [c.energy for c in wide] == sorted(c.energy for c in wide)


def test_coarser_grids_degrade_more() -> None:
    seen, operands = random_trace(4), Operands.SIGN_MAGNITUDE
    table, std = layer_table(LIBRARY["mul8u_exact"], operands), []
    for bits in (8, 6, 4, 2):
        step = 255 / ((1 << bits) - 1)
        grid = Grid(seen.input_scale * step, round(seen.input_zero / step), bits)
        std.append(predict_narrow(seen, grid, operands, table).layer_std)
    assert std == sorted(std) and std[0] == 0


def test_bad_input() -> None:
    seen, operands = random_trace(5), Operands.AFFINE
    with pytest.raises(ValueError, match="layer 'layer5': the grid has 8 bits, the circuit takes 4"):
        predict_narrow(seen, own_grid(seen), operands, layer_table(LIBRARY["mul4u_exact"], operands))
    network = quantise(nn.Sequential(nn.Linear(4, 2)).eval(), [torch.rand(4, 4)])
    assert {g.bits for g in input_grids(network).values()} == {8}
    with pytest.raises(ValueError, match="not calibrated"):
        input_grids(network.use(Arithmetic.INTEGER).use_bits(4))
