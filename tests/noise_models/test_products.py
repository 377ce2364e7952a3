"""Products of two activations: their error, what it costs the network, and the choice of their circuits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, Choice, Grid, LayerTrace, Operands, QuantisedNetwork, layer_table, quantise, trace
from approx.matmul import QuantMatmul
from multipliers import Library, generate
from noise_models import (
    ERROR_MODELS,
    ExactError,
    FisherDegradation,
    HessianVector,
    LayerSensitivity,
    Sensitivity,
    error_model,
    knapsack,
    list_candidates,
    measure_sensitivity,
    with_channel_choices,
)
from noise_models.testing import random_error, table_of_error

TOKENS = 6
LIBRARY = Library([generate(n) for n in ("mul8u_exact", "mul8u_drum4", "mul8u_trunc8", "mul8u_mitchell")])


class Attention(nn.Module):
    """[N, TOKENS, 8] -> [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean(1))


@pytest.fixture
def tokens() -> torch.Tensor:
    return 2 * torch.randn(12, TOKENS, 8) + 0.3


@pytest.fixture
def network(tokens: torch.Tensor) -> QuantisedNetwork:
    return quantise(Attention(), [tokens])


def responses(network: QuantisedNetwork, name: str, x: torch.Tensor, operands: Operands) -> np.ndarray:
    """Exact and approximate response, float64 [2, values], of a product with DRUM4 in a coding."""
    step = network.multiplying()[name]
    assert isinstance(step, QuantMatmul)
    seen: list[tuple[torch.Tensor, ...]] = []
    hook = step.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    table = layer_table(LIBRARY["mul8u_drum4"], operands)
    with torch.no_grad():
        with network.using(Arithmetic.FAKE):
            network(x)
        hook.remove()
        found = []
        for circuit in (None, table):
            step.use_circuit("drum", operands, circuit)
            found.append(step.response(*seen[0]).double().flatten().numpy())
        step.use_exact()
    return np.stack(found)


@pytest.mark.parametrize("name", ["qk", "av"])
@pytest.mark.parametrize("operands", [o for o in Operands if not o.signed_circuit])
def test_the_sampled_error_is_the_bit_exact_one(
    network: QuantisedNetwork, tokens: torch.Tensor, name: str, operands: Operands
) -> None:
    """Twelve matrices of six rows are all in the trace, so nothing is estimated."""
    exact, approximate = responses(network, name, tokens, operands)
    error = approximate - exact
    gain = np.clip(np.cov(approximate, exact)[0, 1] / np.var(approximate, ddof=1), 0.5, 2.0)
    found = error_model("sampled").predict(
        trace(network, [tokens])[name], operands, layer_table(LIBRARY["mul8u_drum4"], operands)
    )
    assert found.mean.shape == (1,)
    tiny = 1e-5 * exact.std()
    assert found.mean[0] == pytest.approx(error.mean(), rel=1e-4, abs=tiny)
    assert found.std[0] == pytest.approx(error.std(), rel=1e-4)
    assert found.residual_std[0] == pytest.approx((gain * approximate - exact).std(), rel=1e-3)


def made_up(seed: int = 0) -> LayerTrace:
    """A product of random activations: 8 pairs of matrices, 24 rows, 10 columns, 32 products a sum."""
    random = np.random.default_rng(seed)
    first, second = (
        np.clip(random.normal(random.uniform(60, 160, (8, n, 1)), 35, (8, n, 32)), 0, 255).astype(np.uint8)
        for n in (24, 10)
    )
    grid = Grid(0.03, 91, 8)
    weight = (grid.scale * (second.astype(np.float32) - grid.zero)).reshape(80, 32)
    return LayerTrace("matmul", 1000, first, weight, 0.02, 118, 5.0, np.array([5.0]), grid)


@pytest.mark.parametrize("name", ERROR_MODELS)
def test_every_model_predicts_one_channel(name: str) -> None:
    found = made_up()
    for operands in Operands:
        scale = found.input_scale * found.weight_values(operands)[1][0]
        none = error_model(name).predict(found, operands, table_of_error(operands, 0))
        assert none.mean.shape == (1,) and not none.std.any() and not none.residual_std.any()
        constant = error_model(name).predict(found, operands, table_of_error(operands, 7))
        assert constant.mean == pytest.approx(7 * found.fan_in * scale, rel=1e-5)
        assert constant.std == pytest.approx(0, abs=1e-4 * constant.mean[0])


@pytest.mark.parametrize("operands", list(Operands))
def test_patch_channel_is_near_the_truth(operands: Operands) -> None:
    found = made_up()
    table = table_of_error(operands, random_error(operands))
    model, truth = (error_model(n).predict(found, operands, table) for n in ("patch-channel", "sampled"))
    assert model.mean == pytest.approx(truth.mean, abs=0.1 * truth.std[0])
    assert model.std == pytest.approx(truth.std, rel=0.1)
    assert model.residual_std == pytest.approx(truth.residual_std, rel=0.1)


def test_softmax_does_not_see_what_all_scores_have_in_common(network: QuantisedNetwork, tokens: torch.Tensor) -> None:
    found = measure_sensitivity(network, [tokens])
    assert list(found.layers) == ["qkv", "qk", "av", "head"]
    assert found["qk"].incoherent.shape == found["qk"].coherent.shape == (1,)
    assert found["qk"].incoherent[0] > 0
    assert found["qk"].coherent[0] < 1e-9 * found["qk"].incoherent[0]
    assert found["av"].coherent[0] > found["av"].incoherent[0] * 0.1


def test_sensitivity_of_products_is_the_gradient_s(network: QuantisedNetwork, tokens: torch.Tensor) -> None:
    """Labels given, so the propagated gradient is that of the cross entropy."""
    labels = torch.arange(len(tokens)) % 3
    found = measure_sensitivity(network, [(tokens, labels)], temperature=1.0)["av"]
    offset = torch.zeros(len(tokens), TOKENS, 8, requires_grad=True)
    network.multiplying()["av"].perturb = lambda response: response + offset
    with network.using(Arithmetic.FAKE):
        F.cross_entropy(network(tokens), labels, reduction="sum").backward()
    network.multiplying()["av"].perturb = None
    assert offset.grad is not None
    gradient = offset.grad.flatten(1).double()
    assert found.incoherent[0] == pytest.approx(float(gradient.square().sum(1).mean()), rel=1e-4)
    assert found.coherent[0] == pytest.approx(float(gradient.sum(1).square().mean()), rel=1e-4)


@pytest.mark.parametrize("name", ["qk", "av"])
def test_true_errors_of_products_are_judged(network: QuantisedNetwork, tokens: torch.Tensor, name: str) -> None:
    """First-order rise of each image's loss along the error, against a derivative of the whole network."""
    labels, choice = torch.arange(len(tokens)) % 3, Choice("mul8u_drum4", Operands.AFFINE)
    judge = ExactError(network, LIBRARY, [(tokens, labels)], temperature=1.0)
    (error,) = judge.errors.of(name, choice, judge.records[name])
    assert error.shape[0] == len(tokens) and error.abs().max() > 0
    assert float(error.mean()) == pytest.approx(0, abs=1e-5)  # free correction
    step = network.multiplying()[name]
    rises = []
    for image, label, wrong in zip(tokens, labels, error, strict=True):
        along = torch.zeros((), requires_grad=True)
        step.perturb = lambda response, along=along, wrong=wrong: response + along * wrong
        with network.using(Arithmetic.FAKE):
            loss = F.cross_entropy(network(image[None]), label[None])
        rises.append(float(torch.autograd.grad(loss, along)[0]))
    step.perturb = None
    np.testing.assert_allclose(judge.rises(name, choice), rises, rtol=1e-3, atol=1e-6)
    assert judge.of(name, choice) == pytest.approx(0.5 * np.mean(np.square(rises)), rel=1e-3)
    assert HessianVector(network, LIBRARY, [tokens]).of(name, choice) > 0


@pytest.mark.parametrize("tuned", [False, True])
def test_the_front_chooses_circuits_of_products(network: QuantisedNetwork, tokens: torch.Tensor, tuned: bool) -> None:
    traces, degradation = trace(network, [tokens]), FisherDegradation(measure_sensitivity(network, [tokens]))
    candidates = list_candidates(traces, LIBRARY, error_model("patch-channel"), degradation, tuned=tuned)
    assert list(candidates) == ["qkv", "qk", "av", "head"]
    assert {c.choice.operands for c in candidates["av"]} == {o for o in Operands if not o.signed_circuit}
    front = knapsack(with_channel_choices(candidates, degradation))
    cheapest = front.points[0].assignment.layers
    assert all(LIBRARY[circuit].energy_relative < 1 for name in ("qk", "av") for circuit in cheapest[name].circuits)
    network.assign(front.points[0].assignment, LIBRARY)
    assert network.multiplying()["av"].circuit == cheapest["av"].multiplier


def test_second_activations_are_not_mapped() -> None:
    """Tuning moves weights; there are none in a product."""
    found = made_up()
    degradation = FisherDegradation(Sensitivity({"matmul": LayerSensitivity(np.ones(1), np.ones(1))}, 1))
    plain, tuned = (
        list_candidates({"matmul": found}, LIBRARY, error_model("sampled"), degradation, tuned=t)["matmul"]
        for t in (False, True)
    )
    assert [(c.choice, c.degradation) for c in plain] == [(c.choice, c.degradation) for c in tuned]
