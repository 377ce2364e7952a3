"""Products of two activations in traces, correction and explanations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import (
    Arithmetic,
    Assignment,
    Choice,
    Grid,
    Operands,
    QuantisedNetwork,
    correct,
    explain_kernels,
    load_traces,
    quantise,
    save_traces,
    trace,
    tune,
)
from approx.correction import response_moments
from approx.matmul import QuantMatmul
from approx.second_operand import Second
from multipliers import generate

TOKENS, HEADS, SIZE = 5, 2, 4


class Attention(nn.Module):
    """[N, TOKENS, 8] -> [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(-1, TOKENS, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4).unbind(0)
        return self.head(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, TOKENS, 8).mean(1))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(8, TOKENS, 8) + 0.3


@pytest.fixture
def network(tokens: torch.Tensor) -> QuantisedNetwork:
    return quantise(Attention(), [tokens])


def product(network: QuantisedNetwork, name: str) -> QuantMatmul:
    found = network.multiplying()[name]
    assert isinstance(found, QuantMatmul)
    return found


def operands_of(network: QuantisedNetwork, name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both activations of a product, matrix by matrix."""
    seen: list[tuple[torch.Tensor, ...]] = []
    hook = product(network, name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    with torch.no_grad(), network.using(Arithmetic.FAKE):
        network(x)
    hook.remove()
    first, second = seen[0]
    return first.flatten(0, 1), second.flatten(0, 1)


@pytest.mark.parametrize("name", ["qk", "av"])
def test_groups_are_pairs_of_matrices(network: QuantisedNetwork, tokens: torch.Tensor, name: str) -> None:
    """Everything fits into a trace here: 16 pairs of matrices, fewer than 32 rows and columns."""
    step, (first, second) = product(network, name), operands_of(network, name, tokens)
    found = trace(network, [tokens])[name]
    rows, columns = first.shape[1], second.shape[2]
    assert found.patches.shape == (16, rows, first.shape[2])
    assert found.weight.shape == (16 * columns, first.shape[2])
    wanted = step.factor * (first @ second)
    x = (found.patches.astype(np.float64) - found.input_zero) * found.input_scale
    outputs = x @ found.weight.reshape(16, columns, -1).transpose(0, 2, 1)
    by_matrix = {tuple(np.sort(m.flatten().round(4))) for m in outputs}
    assert by_matrix == {tuple(np.sort(m.numpy().astype(np.float64).flatten().round(4))) for m in wanted}
    assert found.channels == 1 and found.channel_std.shape == (1,)
    assert found.accumulator_std == pytest.approx(float(wanted.std(correction=0)), rel=1e-4)
    assert found.macs == HEADS * rows * columns * first.shape[2]


@pytest.mark.parametrize("operands", list(Operands))
def test_second_operands_are_coded_as_the_product_codes_them(
    network: QuantisedNetwork, tokens: torch.Tensor, operands: Operands
) -> None:
    step, (_, second) = product(network, "qk"), operands_of(network, "qk", tokens)
    step.use_circuit("test", operands, None)
    values, zero, scale = step.second(second)
    found = trace(network, [tokens])["qk"]
    coded, scales, zeros = found.weight_values(operands)
    wanted = np.sort(values.mT.flatten(0, 1).numpy(), 0)
    assert (np.sort(coded, 0) == wanted).all()
    assert set(zeros) == {int(zero)} and scales == pytest.approx(step.factor * float(scale))


def test_a_trace_spreads_over_batches(network: QuantisedNetwork, tokens: torch.Tensor) -> None:
    many = torch.randn(40, TOKENS, 8)
    found = trace(network, many.split(4))["qk"]
    assert len(found.patches) == 16
    assert found.macs == trace(network, [tokens])["qk"].macs
    pairs = {group.tobytes() for group in found.patches}
    assert len(pairs) == 16


def test_a_reload_is_equal(network: QuantisedNetwork, tokens: torch.Tensor, tmp_path: Path) -> None:
    traces = trace(network, [tokens])
    save_traces(traces, tmp_path / "traces.safetensors")
    again = load_traces(tmp_path / "traces.safetensors")
    assert list(again) == ["qkv", "qk", "av", "head"]
    for name, before in traces.items():
        assert again[name].weight_grid == before.weight_grid
        assert (again[name].weight == before.weight).all() and again[name].channels == before.channels
    assert again["qkv"].weight_grid is None and again["qkv"].channels == 24
    assert isinstance(again["av"].weight_grid, Grid)


def test_a_narrow_operand_is_refused_where_nothing_may_be_rounded(
    network: QuantisedNetwork, tokens: torch.Tensor
) -> None:
    found = trace(network, [tokens])["qk"]
    for operands in (Operands.AFFINE, Operands.SIGN_MAGNITUDE_9):
        with pytest.raises(ValueError, match=f"{operands.value}' take codes of at most 4 bits, got 8"):
            found.weight_values(operands, bits=4)
    assert abs(found.weight_values(Operands.SIGN_MAGNITUDE, bits=4)[0]).max() <= 7


def test_reals_on_a_grid_are_codes_again() -> None:
    grid, codes = Grid(0.037, 91, 8), torch.arange(256)
    values = ((codes - 91) * 0.037).float()
    assert torch.equal(Second.of_reals(values, grid).values.long(), codes)


def test_the_response_is_the_output_before_rounding(network: QuantisedNetwork, tokens: torch.Tensor) -> None:
    step, pair = product(network, "qk"), operands_of(network, "qk", tokens)
    circuit = generate("mul8u_drum4")
    network.assign(Assignment({"qk": Choice(circuit.name, Operands.AFFINE)}), {circuit.name: circuit})
    step.gain.fill_(1.2)
    step.bias.fill_(0.1)
    with torch.no_grad():
        exact, rounded = step.response(*pair) + 0.1, step.reals(*pair)
    low, high = step.output.limits(step.bounds)
    assert ((rounded - exact.clamp(low, high)).abs() <= 0.51 * float(step.output.scale)).all()


@pytest.mark.parametrize("recover", [correct, tune])
@pytest.mark.parametrize("operands", [Operands.AFFINE, Operands.SIGN_MAGNITUDE_9])
def test_recovery_restores_mean_and_std_of_products(
    network: QuantisedNetwork,
    tokens: torch.Tensor,
    recover: Callable[[QuantisedNetwork, torch.Tensor], QuantisedNetwork],
    operands: Operands,
) -> None:
    wanted = response_moments(product(network, "av"), *operands_of(network, "av", tokens))
    circuit = generate("mul8u_trunc9")
    network.assign(Assignment({"av": Choice(circuit.name, operands)}), {circuit.name: circuit})
    step, pair = product(network, "av"), operands_of(network, "av", tokens)
    broken = response_moments(step, *pair)
    assert abs(broken[0] / wanted[0] - 1) > 0.01 or abs(broken[1] / wanted[1] - 1) > 0.01
    recover(network, tokens)
    mean, std = response_moments(step, *pair)
    assert float(step.gain) != 1
    assert float(std) == pytest.approx(float(wanted[1]), rel=1e-3)  # the response has the gain in it
    assert float(mean + step.bias) == pytest.approx(float(wanted[0]), rel=1e-3, abs=1e-4)
    with pytest.raises(ValueError, match=r"layers \['av'\] are corrected already"):
        correct(network, tokens)


def test_gain_and_bias_survive_a_reload(network: QuantisedNetwork) -> None:
    product(network, "av").gain.fill_(1.5)
    state = network.state_dict()
    assert [value for key, value in state.items() if key.endswith("av.gain")] == [torch.tensor([1.5]).double()]
    assert not any("av" in name for name, _ in network.named_parameters())  # training leaves them alone


def test_products_are_explained(network: QuantisedNetwork, tokens: torch.Tensor) -> None:
    before = network(tokens)
    rows = {row.layer: row for row in explain_kernels(network, tokens)}
    assert list(rows) == ["qkv", "qk", "av", "head"]
    assert rows["qk"].shape == f"8 x {HEADS} x {TOKENS} x {SIZE} -> {TOKENS}"
    assert rows["av"].path and rows["av"].measured_ms > 0 and rows["av"].float_ms > 0
    assert torch.equal(network(tokens), before)
