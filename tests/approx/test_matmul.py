"""Products of two activations against the arithmetic written out, and the circuits a user gives them."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from approx import Arithmetic, Assignment, Choice, LayerTable, Operands, correct, layer_table, quantise
from approx.kernels import pointwise
from approx.matmul import QuantMatmul
from approx.quantizer import Quantizer
from approx.requantise import fixed_point
from multipliers import generate


def observed(values: torch.Tensor, bits: int = 8) -> Quantizer:
    quantizer = Quantizer(bits)
    quantizer.observe(values)
    quantizer.calibrate()
    return quantizer


def product(
    shape: tuple[int, ...], columns: int, factor: float = 0.7
) -> tuple[QuantMatmul, torch.Tensor, torch.Tensor]:
    """A calibrated matrix product and its inputs on their grids, none of them centred on zero."""
    x, w = torch.randn(shape) + 0.6, torch.randn(*shape[:-2], shape[-1], columns) - 0.4
    sources = observed(x), observed(w)
    x, w = (q.reals(q.codes(v)) for q, v in zip(sources, (x, w), strict=True))
    step = QuantMatmul("qk", sources, observed(factor * x @ w), factor)
    step.arithmetic = Arithmetic.INTEGER
    assert all(0 < int(q.zero_point) != 128 for q in sources)
    return step, x, w


def noisy(operands: Operands) -> LayerTable:
    """A table that errs everywhere, T[0, 0] included."""
    weights = np.arange(operands.lowest, operands.highest + 1)[:, None]
    noise = np.random.default_rng(1).integers(1, 900, (len(weights), 256))
    return LayerTable((weights * np.arange(256) + noise).astype(np.int32), -operands.lowest)


def rounded_shift(value: int, multiplier: int, shift: int) -> int:
    return (value * multiplier + (1 << (shift - 1))) >> shift


def spelt_out(step: QuantMatmul, x: torch.Tensor, w: torch.Tensor) -> np.ndarray:
    """Output codes [B, P, O], one product at a time in Python integers."""
    first, second = step.sources
    rows, columns = (
        q.codes(v).long().numpy() for q, v in zip(step.sources, (x.flatten(0, -3), w.flatten(0, -3)), strict=True)
    )
    zero_x, zero_w, shrink = int(first.zero_point), int(second.zero_point), 1.0
    coded = columns if step.operands is Operands.AFFINE else columns - zero_w
    if step.operands in (Operands.SIGN_MAGNITUDE, Operands.SIGNED):
        shrink = 127 / max(zero_w, 255 - zero_w)
        recode = [int(v.item()) for v in fixed_point(np.array(shrink))]
        coded = np.vectorize(lambda v: min(127, max(-127, rounded_shift(int(v), *recode))))(coded)
    subtracted = zero_w if step.operands is Operands.AFFINE else 0
    size = step.factor * float(first.scale) * (float(second.scale) / shrink) / float(step.output.scale)
    factors = [int(v.item()) for v in fixed_point(np.array(size))]
    result = np.zeros((len(rows), rows.shape[1], coded.shape[2]), np.int64)
    for b, p, o in itertools.product(*map(range, result.shape)):
        total = 0
        for code, value in zip(rows[b, p].tolist(), coded[b, :, o].tolist(), strict=True):
            entry = int(step.layer_circuit.products[value + step.layer_circuit.table.offset, code])
            total += entry - subtracted * code - zero_x * value + zero_x * subtracted
        low, high = step.output.bounds
        result[b, p, o] = min(high, max(low, rounded_shift(total, *factors) + int(step.output.zero_point)))
    return result


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("operands", list(Operands))
@pytest.mark.parametrize("approximate", [True, False])
def test_every_code_is_the_table_s(
    operands: Operands, approximate: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(pointwise, "usable", lambda *_: False)
    step, x, w = product((3, 6, 5, 7), 4)  # 18 matrices: more than one kernel call
    step.use_circuit("test", operands, noisy(operands) if approximate else None)
    with torch.no_grad():
        codes = step.output.codes(step(x, w))
    assert codes.shape == (3, 6, 5, 4)
    assert (codes.flatten(0, 1).long().numpy() == spelt_out(step, x, w)).all()
    assert (step.table is None) is not approximate


def test_inputs_may_lie_anyhow_in_memory() -> None:
    step, x, w = product((3, 4, 5, 6), 7)
    with torch.no_grad():
        wanted = step(x, w)
        scattered = x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0), w.mT.contiguous().mT
        assert torch.equal(step(*scattered), wanted)


def test_exact_products_are_the_real_product() -> None:
    step, x, w = product((2, 9, 33), 5)
    with torch.no_grad():
        step.use_exact()
        error = (step(x, w) - 0.7 * x @ w).abs()
    inside = error <= 0.5001 * float(step.output.scale)
    assert inside.float().mean() > 0.95  # the rest is clipped


@pytest.mark.parametrize("operands", list(Operands))
def test_gradients_of_both_activations_are_those_of_fake_arithmetic(operands: Operands) -> None:
    step, x, w = product((2, 3, 5, 8), 4)
    step.use_circuit("test", operands, None)
    grad, found = torch.randn(2, 3, 5, 4), []
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        step.arithmetic = arithmetic
        leaves = x.clone().requires_grad_(), w.clone().requires_grad_()
        step(*leaves).backward(grad)
        found.append([leaf.grad for leaf in leaves])
    for fake, integer in zip(*found, strict=True):
        assert torch.cosine_similarity(fake.flatten(), integer.flatten(), 0) > 0.99


def test_the_gradient_is_the_factor_times_the_other_operand_where_nothing_clips() -> None:
    step, x, w = product((1, 4, 6), 3)
    step.output.scale.mul_(4)
    x.requires_grad_()
    step(x, w).sum().backward()
    assert torch.allclose(x.grad, 0.7 * w.sum(2)[:, None].expand_as(x), atol=1e-5)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.head((torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v)[:, 0])


def test_assignments_name_the_products() -> None:
    tokens = torch.randn(6, 5, 8)
    network = quantise(Attention(), [tokens])
    assert list(network.layers()) == ["qkv", "head"]
    assert list(network.multiplying()) == ["qkv", "qk", "av", "head"]
    library = {"mul8u_drum4": generate("mul8u_drum4")}
    exact = network(tokens).detach()
    network.assign(Assignment({"av": Choice("mul8u_drum4", Operands.AFFINE)}), library)
    steps = network.multiplying()
    assert (steps["av"].circuit, steps["av"].operands) == ("mul8u_drum4", Operands.AFFINE)
    assert steps["qk"].table is None and not torch.equal(network(tokens), exact)
    network.assign(Assignment(), library)
    assert torch.equal(network(tokens), exact)
    with pytest.raises(ValueError, match=r"'qv', which does not exist; did you mean \['qkv'"):
        network.assign(Assignment({"qv": Choice("mul8u_drum4")}), library)


def test_correction_leaves_the_products_circuits_in_place() -> None:
    tokens = torch.randn(70, 5, 8)  # more than one chunk
    network = quantise(Attention(), [tokens])
    network.assign(Assignment({"*": Choice("mul8u_drum4")}), {"mul8u_drum4": generate("mul8u_drum4")})
    correct(network, tokens)
    assert (network.layers()["head"].gain != 1).all()
    assert network.multiplying()["qk"].circuit == "mul8u_drum4"


def test_a_narrow_circuit_needs_narrow_activations() -> None:
    step, x, w = product((1, 2, 3), 2)
    table = layer_table(generate("mul4u_exact"), Operands.SIGN_MAGNITUDE_9)
    step.use_circuit("mul4u_exact", Operands.SIGN_MAGNITUDE_9, table)
    with pytest.raises(
        ValueError, match="'qk' reads activations of 8 and 8 bits, multiplier 'mul4u_exact' takes 4 and 4"
    ):
        step(x, w)
